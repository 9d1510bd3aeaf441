// SPDX-License-Identifier: Apache-2.0
// What the fake says: the last error's sentence, and the line in the log.
#pragma once
#include <cstdarg>
#include <string>

#include "fake/refusals.hpp"

namespace fake {

/// Writes `misuse: sentence` as the last error. A finding goes to the log (else to stderr) and is counted; a refusal
/// goes to the log only. Returns the entry's result.
[[gnu::format(printf, 2, 3)]] ncclResult_t refuse(misuse what, const char* format, ...);

/// The last error's sentence is this one, as NCCL's WARN does.
[[gnu::format(printf, 1, 2)]] void warn(const char* format, ...);

/// Sets the last error without writing it anywhere.
void set_last_error(const char* text);
/// The last error of this process; the text stays until the same thread asks again.
const char* last_error();

}  // namespace fake
