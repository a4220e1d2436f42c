// Modules whose test data our tests read: nothing of them is built.
module cloakroom/tools/corpus

go 1.27.4

require github.com/oauth2-proxy/oauth2-proxy/v7 v7.15.6 // testdata/openredirects.txt (MIT)
