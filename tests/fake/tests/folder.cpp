// SPDX-License-Identifier: Apache-2.0
// These tests look for files that are left behind: they and their processes have a folder of their own for them.
#include <unistd.h>
#include <cstdlib>

namespace {

struct own_folder {
  own_folder() {
    if (mkdtemp(path) != nullptr) setenv("FAKE_GPU_FOLDER", path, 1);
  }
  ~own_folder() { rmdir(path); }
  char path[32] = "/tmp/tests_fake.XXXXXX";
} folder;

}  // namespace
