// SPDX-License-Identifier: Apache-2.0
// Runs a command, and keeps what it writes.
#pragma once
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

namespace program {

inline std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// A folder that is removed with all that is in it.
class temporary_folder {
 public:
  temporary_folder() : path_(std::string(TEMPORARY) + "/run.XXXXXX") {
    if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("no temporary folder in " TEMPORARY);
  }
  temporary_folder(const temporary_folder&) = delete;
  ~temporary_folder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(*this / name, std::ios::binary) << text;
    return *this / name;
  }

 private:
  std::string path_;
};

struct outcome {
  int exit = -1;
  std::string out, err;
  /// By a program of ours.
  bool refused() const { return exit == 1 && err.rfind("error: ", 0) == 0 && out.empty(); }
};

/// Runs a command of the shell.
inline outcome run_command(const std::string& command) {
  const temporary_folder folder;
  const int status = std::system((command + " > '" + (folder / "out") + "' 2> '" + (folder / "err") + "'").c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, text_of(folder / "out"), text_of(folder / "err")};
}

}  // namespace program
