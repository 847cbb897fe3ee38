"""The JSON API has one module for each resource."""
