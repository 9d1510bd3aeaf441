// SPDX-License-Identifier: Apache-2.0
// shardwise: reads a model before it is loaded, and says what a plan makes of it.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>

#include "commands.hpp"
#include "options.hpp"

namespace {

int say(const tool::answer& a) {
  std::fwrite(a.err.data(), 1, a.err.size(), stderr);
  errno = 0;
  const bool all = std::fwrite(a.out.data(), 1, a.out.size(), stdout) == a.out.size();
  if (std::fflush(stdout) == 0 && all) return a.exit;
  std::fprintf(stderr, "error: the answer cannot be written: %s\n", std::strerror(errno));
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  const bool json = tool::asks_for_json(argc, argv);
  CLI::App app;
  try {
    return say(tool::run(tool::parse_options(app, argc, argv)));
  } catch (const CLI::Success& e) {
    return app.exit(e);  // --help
  } catch (const CLI::ParseError& e) {
    return say(tool::refusal_of(std::string(e.what()) + "; see --help", json));
  } catch (const std::exception& e) {
    return say(tool::refusal_of(e.what(), json));
  }
}
