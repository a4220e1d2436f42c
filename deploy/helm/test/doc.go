// Package chart tests the Helm chart beside it: what it renders is decoded strictly into the types of the Kubernetes API, and its
// pods are run as processes, with everything laid where their mounts would put it. It is a module of its own, so that Helm and
// Kubernetes stay out of the product's go.mod. Helm is its packages: `helm lint` and `helm template` call the same functions, and
// the command would take twice as long to build.
package chart
