"""The operator: watches the resources, applies what they mean, and says how it went."""
