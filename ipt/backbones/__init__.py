"""The frozen models, and how examples are fed to them."""
