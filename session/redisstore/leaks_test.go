package redisstore

import (
	"testing"

	"go.uber.org/goleak"
)

// What a test has begun, it ends; but the thread that starts servers, which must live as long as they do.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("cloakroom/session/sessiontest.takeOrders"))
}
