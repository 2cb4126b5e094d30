"""Model Router Operator: one OpenAI-compatible endpoint in front of many model pools."""

__version__ = "0.1.0"
