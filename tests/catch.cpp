// SPDX-License-Identifier: Apache-2.0
// What the precompiled catch.hpp belongs to.
#include "catch.hpp"
