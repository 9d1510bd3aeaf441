// SPDX-License-Identifier: Apache-2.0
#include "fake/launch.hpp"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <stdexcept>
#include <thread>

extern char** environ;

namespace launch {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error("launch: " + what + ": " + std::strerror(errno));
}

// A port that was free just now.
int free_port() {
  const int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* plain = reinterpret_cast<sockaddr*>(&address);
  if (s < 0 || bind(s, plain, size) != 0 || getsockname(s, plain, &size) != 0) fail("no port");
  close(s);
  return ntohs(address.sin_port);
}

std::string text_of(const std::string& path) {
  std::string text;
  if (std::FILE* f = std::fopen(path.c_str(), "rbe")) {
    char bytes[4096];
    for (std::size_t n = 0; (n = std::fread(bytes, 1, sizeof bytes, f)) > 0;) text.append(bytes, n);
    std::fclose(f);
  }
  return text;
}

std::string skip_line(const std::string& output) {
  for (std::size_t at = 0; at < output.size();) {
    const auto end = std::min(output.find('\n', at), output.size());
    if (output.compare(at, 5, "SKIP:") == 0) return output.substr(at, end - at);
    at = end + 1;
  }
  return {};
}

// The folder of the logs; removed with what is in it.
class log_folder {
 public:
  log_folder(std::string parent, bool keep) : keep_(keep) {
    if (parent.empty()) {
      const char* temporary = std::getenv("TMPDIR");
      parent = temporary != nullptr ? temporary : "/tmp";
    }
    path_ = parent + "/launch.XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) fail("no folder " + path_);
  }
  log_folder(const log_folder&) = delete;
  log_folder& operator=(const log_folder&) = delete;
  ~log_folder() {
    if (keep_) return;
    for (const auto& name : names()) unlink((path_ + '/' + name).c_str());
    rmdir(path_.c_str());
  }
  const std::string& path() const { return path_; }
  std::string rank(int r) const { return path_ + "/rank" + std::to_string(r) + ".log"; }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    if (DIR* d = opendir(path_.c_str())) {
      while (const dirent* entry = readdir(d)) {
        if (entry->d_name[0] != '.') found.emplace_back(entry->d_name);
      }
      closedir(d);
    }
    return found;
  }

 private:
  std::string path_;
  bool keep_;
};

using variables = std::map<std::string, std::string>;

variables environment_of(const options& how, int rank, int port, const std::string& folder) {
  variables all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (const auto at = text.find('='); at != std::string::npos) all[text.substr(0, at)] = text.substr(at + 1);
  }
  const auto n = std::to_string(how.ranks), r = std::to_string(rank);
  all["RANK"] = r;
  all["WORLD_SIZE"] = n;
  all["LOCAL_RANK"] = how.gpu_per_rank ? r : "0";
  all["LOCAL_WORLD_SIZE"] = n;
  all["MASTER_ADDR"] = "127.0.0.1";
  all["MASTER_PORT"] = std::to_string(port);
  all["NCCL_SOCKET_IFNAME"] = "lo";
  all["NCCL_SOCKET_FAMILY"] = "AF_INET";
  all["NCCL_RAS_ENABLE"] = "0";  // its socket would be shared by all jobs of the machine
  all["NCCL_DEBUG"] = "WARN";
  all["NCCL_DEBUG_FILE"] = folder + "/nccl.%h.%p.log";
  if (!how.gpu_per_rank) {
    // Several ranks on one GPU: NCCL takes them for several hosts, which only sockets connect.
    all.emplace("CUDA_VISIBLE_DEVICES", "0");
    all["NCCL_HOSTID"] = "tp-test-" + std::to_string(getpid()) + "-" + std::to_string(port) + "-rank" + r;
    all["NCCL_NET"] = "Socket";
    all["NCCL_IB_DISABLE"] = "1";
    all["NCCL_P2P_DISABLE"] = "1";
    all["NCCL_SHM_DISABLE"] = "1";
    all["NCCL_NVLS_ENABLE"] = "0";
    all["NCCL_MNNVL_ENABLE"] = "0";
    all["NCCL_PROTO"] = "Simple";
    all["NCCL_MAX_CTAS"] = "2";
    all["NCCL_MIN_CTAS"] = "1";
  }
  for (const auto& [name, value] : how.environment) all[name] = value;
  return all;
}

// Starts one rank in a session of its own. Nothing between fork and exec allocates: other threads may be running.
pid_t start(const std::vector<std::string>& command, const variables& environment, const std::string& log) {
  std::vector<std::string> texts;
  for (const auto& [name, value] : environment) texts.push_back(name + '=' + value);
  std::vector<char*> entries, arguments;
  for (auto& text : texts) entries.push_back(text.data());
  entries.push_back(nullptr);
  for (const auto& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  const int output = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (output < 0 || input < 0) fail("no log " + log);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child == 0) {
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
    if (dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0) _exit(127);
    execvpe(arguments[0], arguments.data(), entries.data());
    constexpr char text[] = "launch: cannot execute the program\n";
    if (write(2, text, sizeof text - 1) < 0) _exit(126);
    _exit(127);
  }
  close(output);
  close(input);
  if (child < 0) fail("no process");
  return child;
}

void kill_group(pid_t leader) {
  kill(-leader, SIGKILL);
  kill(leader, SIGKILL);  // it may not have made its session yet
}

int code_of(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

}  // namespace

outcome run(const options& how, const std::vector<std::string>& command) {
  if (command.empty() || how.ranks < 1) throw std::runtime_error("launch: nothing to run");
  const log_folder folder(how.logs, how.keep_logs);
  const int port = free_port();
  const auto end = std::chrono::steady_clock::now() + how.deadline;
  outcome result;
  std::vector<pid_t> ranks;
  const auto kill_all = [&] {
    for (const pid_t p : ranks) {
      if (p > 0) kill_group(p);
    }
  };
  try {
    for (int r = 0; r < how.ranks; ++r) {
      ranks.push_back(start(command, environment_of(how, r, port, folder.path()), folder.rank(r)));
    }
  } catch (...) {
    kill_all();
    for (const pid_t p : ranks) waitpid(p, nullptr, 0);
    throw;
  }

  int running = how.ranks;
  bool killed = false;
  while (running > 0) {
    for (std::size_t r = 0; r < ranks.size(); ++r) {
      int status = 0;
      if (ranks[r] <= 0 || waitpid(ranks[r], &status, WNOHANG) != ranks[r]) continue;
      kill(-ranks[r], SIGKILL);  // what it may have left behind in its group
      ranks[r] = 0;
      --running;
      bool allowed = false;
      for (const int may : how.may_die) allowed = allowed || (may == static_cast<int>(r) && WIFSIGNALED(status));
      if (code_of(status) != 0 && !allowed && !killed) {
        result.code = code_of(status);
        result.failed_rank = static_cast<int>(r);
        killed = true;
        kill_all();
      }
    }
    if (!killed && std::chrono::steady_clock::now() > end) {
      result.code = 124;
      for (std::size_t r = 0; r < ranks.size() && result.failed_rank < 0; ++r) {
        if (ranks[r] > 0) result.failed_rank = static_cast<int>(r);
      }
      killed = true;
      kill_all();
    }
    if (running > 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }

  bool all_skipped = result.code == 0;
  for (int r = 0; r < how.ranks; ++r) {
    result.output.push_back(text_of(folder.rank(r)));
    const auto line = skip_line(result.output.back());
    all_skipped = all_skipped && !line.empty();
    if (r == 0) result.skip = line;
  }
  if (all_skipped) {
    result.code = 77;
  } else {
    result.skip.clear();
  }
  for (const auto& name : folder.names()) {
    if (name.rfind("nccl.", 0) == 0) result.nccl_log += text_of(folder.path() + '/' + name);
  }
  return result;
}

}  // namespace launch
