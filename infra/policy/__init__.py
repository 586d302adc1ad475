"""Rules for what a stack declares; the same in `make plan`, in the tests and under `pulumi preview --policy-pack`."""
