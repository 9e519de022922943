"""The same replicas in one thread, on virtual time, a virtual network and virtual disks."""
