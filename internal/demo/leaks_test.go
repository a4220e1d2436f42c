package demo

import (
	"testing"

	"go.uber.org/goleak"
)

// What a test has begun, it ends.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
