// SPDX-License-Identifier: Apache-2.0
// Linked with one object per header: that it links at all shows that every function in a header is inline.
#include "shardwise/version.hpp"

#include <string>

#include "catch.hpp"

TEST_CASE("the package has the version that the header says", "[headers]") {
  CHECK(std::to_string(SHARDWISE_VERSION_MAJOR) + '.' + std::to_string(SHARDWISE_VERSION_MINOR) + '.' +
            std::to_string(SHARDWISE_VERSION_PATCH) ==
        SHARDWISE_CMAKE_VERSION);
}
