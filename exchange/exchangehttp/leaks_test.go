package exchangehttp_test

import (
	"testing"

	"go.uber.org/goleak"
)

// What a test has begun, it ends; but the caches of minted tokens, which live as long as the process.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/maypok86/otter/v2.periodicCleanUp[...]"))
}
