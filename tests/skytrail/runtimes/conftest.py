from support.daemons import archive, containerd, docker, netns, podman

__all__ = ["archive", "containerd", "docker", "netns", "podman"]
