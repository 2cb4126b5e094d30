"""A demonstration: real traffic through a real router while weights move and processes die."""
