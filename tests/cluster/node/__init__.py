"""Tests where everything is real: pods, images, probes, Services, traffic."""
