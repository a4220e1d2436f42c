// Package demo owns what `cloakroom demo` shows: two sample services that verify their tokens as any backend would, the
// Cognito-like provider's report to the page, the configuration that ties them to Cloakroom, and the one process that runs
// it all. Others leave the sample configuration and the ports to it; it leaves starting Cloakroom itself to its caller.
package demo
