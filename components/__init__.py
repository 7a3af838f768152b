"""The Pulumi components of the stack, and the documents that they register."""
