// SPDX-License-Identifier: Apache-2.0
// --logits-policy: what is wanted of the logits, and what is said of it.
#pragma once
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "model.hpp"
#include "shardwise/run/logits.hpp"

namespace generate {

namespace detail {
template <class T>
T parse_number(std::string_view text, std::string_view of) {
  T n{};
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (fault != std::errc() || end != text.data() + text.size() || text.empty())
    throw sw::error("--logits-policy: '", text, "' is no number for ", of);
  return n;
}

inline sw::sampling parse_sampling(std::string_view text) {
  sw::sampling how;
  while (!text.empty()) {
    const std::string_view one = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), one.size() + 1));
    const std::size_t equals = one.find('=');
    const std::string_view name = one.substr(0, equals);
    const std::string_view number = equals == one.npos ? "" : one.substr(equals + 1);
    if (name == "temperature") {
      how.temperature = parse_number<double>(number, name);
    } else if (name == "top_k") {
      how.top_k = parse_number<std::size_t>(number, name);
    } else if (name == "top_p") {
      how.top_p = parse_number<double>(number, name);
    } else if (name == "seed") {
      how.seed = parse_number<std::uint64_t>(number, name);
    } else {
      throw sw::error("--logits-policy: sample takes temperature, top_k, top_p and seed, as in ",
                      "sample:temperature=0.8,top_p=0.9, and no '", name, "'");
    }
  }
  return how;
}
}  // namespace detail

/// gather, argmax, top_k:K, log_softmax, sample or sample:NAME=X,... Throws `sw::error` for other texts.
inline sw::logits_policy parse_policy(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon), rest = colon == text.npos ? "" : text.substr(colon + 1);
  if (name == "sample") return sw::logits::sample(detail::parse_sampling(rest));
  if (name == "top_k") return sw::logits::top_k(detail::parse_number<std::size_t>(rest, name));
  if (text == "gather") return sw::logits::gather;
  if (text == "argmax") return sw::logits::argmax;
  if (text == "log_softmax") return sw::logits::log_softmax({});
  throw sw::error("--logits-policy is gather, argmax, top_k:K, log_softmax or sample:NAME=X,..., and not '", text, "'");
}

/// The token with the largest logit in a row; the first of equal ones.
inline std::int64_t best_of(const tensor& logits, std::size_t row) {
  const float* p = logits.row(row);
  return std::max_element(p, p + logits.columns()) - p;
}

/// Decides on one rank which token comes next, by a policy. The same on all ranks.
class decider {
 public:
  decider(const sw::logits_policy& wanted, const model& m) : wanted_(wanted), model_(m) {}

  /// The tokens after a prompt, by row of the batch; `seen` is what leaves the last layer. Collective.
  std::vector<std::int64_t> after_prompt(const value& seen, const prompt& p) {
    batch_ = p.batch;
    std::vector<std::size_t> last;
    for (std::size_t b = 0; b < p.batch; ++b) last.push_back((b + 1) * p.tokens - 1);
    if (wanted_.kind == sw::logits_kind::gather) {
      logits_ = model_.logits(seen);
      return best(logits_, last);
    }
    if (wanted_.kind == sw::logits_kind::log_softmax) score(seen, p);
    const auto tokens = ask(seen, last, p.tokens);
    if (wanted_.kind == sw::logits_kind::top_k) say_best();
    return tokens;
  }
  /// The tokens after one more of each row, with which there are `length`. Collective.
  std::vector<std::int64_t> after_token(const value& seen, std::size_t length) {
    std::vector<std::size_t> all(batch_);
    std::iota(all.begin(), all.end(), std::size_t{0});
    return wanted_.kind == sw::logits_kind::gather ? best(model_.logits(seen), all) : ask(seen, all, length);
  }

  /// Of the prompt [batch, tokens, vocabulary], of gather; and what the others have to say of it, line by line.
  const tensor& logits() const { return logits_; }
  const std::string& said() const { return said_; }

 private:
  static std::vector<std::int64_t> best(const tensor& logits, const std::vector<std::size_t>& rows) {
    std::vector<std::int64_t> tokens;
    for (const std::size_t row : rows) tokens.push_back(best_of(logits, row));
    return tokens;
  }
  // Each row of the batch draws numbers of its own.
  std::vector<std::int64_t> ask(const value& seen, const std::vector<std::size_t>& rows, std::size_t length) {
    std::vector<std::uint64_t> positions;
    for (std::size_t b = 0; b < rows.size(); ++b) positions.push_back(std::uint64_t{b} << 32 | length);
    const bool scores = wanted_.kind == sw::logits_kind::log_softmax;
    answer_ = &model_.answer(seen, rows, scores ? sw::logits::argmax : wanted_, memory_, {0, positions});
    std::vector<std::int64_t> tokens;
    for (std::size_t b = 0; b < rows.size(); ++b) tokens.push_back(answer_->ids[b * answer_->width]);
    return tokens;
  }
  void say_best() {
    for (std::size_t b = 0; b < answer_->rows; ++b) {
      std::vector<std::string> words;
      for (std::size_t i = b * answer_->width; i < (b + 1) * answer_->width; ++i)
        words.push_back(fmt::format("{} ({:.6f})", answer_->ids[i], answer_->values[i]));
      said_ += fmt::format("top_k: {}\n", fmt::join(words, ", "));
    }
  }
  // How likely each token of the prompt was after those before it.
  void score(const value& seen, const prompt& p) {
    std::vector<std::size_t> rows;
    std::vector<std::int64_t> next;
    for (std::size_t i = 0; i < p.ids.size(); ++i) {
      if ((i + 1) % p.tokens == 0) continue;
      rows.push_back(i);
      next.push_back(p.ids[i + 1]);
    }
    const sw::logits_answer& a = model_.answer(seen, rows, sw::logits::log_softmax(next), memory_, {});
    for (std::size_t b = 0; b < p.batch; ++b) {
      const auto of_row = a.values.subspan(b * (p.tokens - 1), p.tokens - 1);
      said_ += fmt::format("log_softmax: {:.6f}, sum {:.6f}\n", fmt::join(of_row, ","),
                           std::accumulate(of_row.begin(), of_row.end(), 0.0));
    }
  }

  sw::logits_policy wanted_;
  const model& model_;
  sw::logits_memory memory_;
  const sw::logits_answer* answer_ = nullptr;
  tensor logits_;
  std::size_t batch_ = 0;
  std::string said_;
};

}  // namespace generate
