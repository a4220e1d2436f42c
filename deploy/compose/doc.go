// Package compose holds what docker-compose.yml mounts, and the tests of what is shipped for containers: the image, the compose
// files, the release they are made from. Those that need a Docker engine are behind the tag `containers`; tools/containers.sh
// runs them.
package compose
