// SPDX-License-Identifier: Apache-2.0
// One call of a policy, without its collectives: the message of a rank, and the answer that all messages give.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include "shardwise/error.hpp"
#include "shardwise/run/detail/logits_key.hpp"
#include "shardwise/run/detail/logits_message.hpp"
#include "shardwise/run/detail/logits_sum.hpp"
#include "shardwise/run/detail/philox.hpp"
#include "shardwise/run/logits_memory.hpp"
#include "shardwise/run/logits_policy.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// An id with its score: its logit over the temperature, and its random number.
struct drawn {
  double score = 0;
  logits_key key = 0;  // 0: none was drawn yet

  void offer(logits_key k, std::uint64_t position, const sampling& how) {
    const float logit = logit_of(k);
    if (logit == minus_infinity) return;
    const double z = static_cast<double>(logit) / how.temperature;
    const gumbel g(how.seed, position, id_of(k));
    if (key != 0 && z + g.bound() < score) return;
    take({z + g.value(), k});
  }
  void take(const drawn& other) {
    if (other.key == 0) return;
    if (key == 0 || other.score > score || (other.score == score && id_of(other.key) < id_of(key))) *this = other;
  }
};

/// Messages are written and read row by row, and every rank reads the same, so that all come to the same answer, the
/// same error, or the same next message.
class logits_job {
 public:
  /// `w.columns` are the ids of each rank. Throws `logits_error` for what no row could answer.
  logits_job(std::string_view module, const logits_policy& wanted, std::size_t rows, std::size_t vocabulary,
             const logits_options& options, logits_scratch& w)
      : module_(module),
        wanted_(wanted),
        rows_(rows),
        vocabulary_(vocabulary),
        positions_(options.positions),
        widest_(widest(w.columns)),
        shape_(wanted, rows, widest_),
        words_(shape_.words(w.columns, vocabulary)),
        temperature_(wanted.kind == logits_kind::sample ? wanted.how.temperature : 1),
        w_(w) {
    check();
    w_.answer = {};
    w_.answer.rows = rows;
    w_.answer.width = wanted.kind == logits_kind::top_k         ? std::min(wanted.k, vocabulary)
                      : wanted.kind == logits_kind::log_softmax ? shape_.by_id
                                                                : 1;
    if (rows != 0 && wanted.kind == logits_kind::log_softmax) w_.answer.width = wanted.ids.size() / rows;
    const std::size_t answers = rows * w_.answer.width;
    w_.ids.assign(answers, 0);
    w_.values.assign(answers, 0);
    w_.rounds.assign(shape_.has_rounds() ? rows : 0, 0);
    w_.sums.resize(rows);
    if (w_.best.size() < rows * w_.columns.size()) w_.best.resize(rows * w_.columns.size());
    for (auto& list : w_.best) list.clear();
    w_.open.clear();
  }

  static std::size_t widest(std::span<const interval> columns) {
    std::size_t n = 0;
    for (const interval& c : columns) n = std::max(n, c.size());
    return n;
  }

  std::size_t words() const { return rows_ * words_; }

  /// Of rank `rank`, which has `logits` of all rows.
  void write(int rank, const host_logits& logits, dtype type, std::span<std::uint32_t> out) {
    for (std::size_t i = 0; i < rows_; ++i) {
      const interval& mine = read(rank, logits, type, i);
      write_row(i, mine, out.subspan(i * words_, words_));
    }
  }
  /// The messages of all ranks. Throws `logits_error`, the same on all of them.
  void read_all(std::span<const std::uint32_t> all) {
    for (std::size_t i = 0; i < rows_; ++i) {
      refuse_nan(i, all);
      if (shape_.score) {
        read_score(i, all);
        continue;
      }
      for (std::size_t r = 0; r < ranks(); ++r) read_keys(i, r, of(all, i, r).subspan(1), shape_.best);
      if (shape_.sum) {
        read_sum(i, all);
      }
      if (wanted_.kind == logits_kind::log_softmax) {
        answer_by_id(i, all);
      } else if (wanted_.kind == logits_kind::sample && temperature_ != 0) {
        w_.open.push_back(i);
      } else {
        answer_best(i);
      }
    }
    draw();
  }

  /// Rows that need more of each rank's best ids, and the words of that message.
  bool decided() const { return w_.open.empty(); }
  std::size_t words_of_round() const { return w_.open.size() * words_of_open_row(); }
  void write_round(int rank, const host_logits& logits, dtype type, std::span<std::uint32_t> out) {
    for (std::size_t i = 0; i < w_.open.size(); ++i) {
      const interval& mine = read(rank, logits, type, w_.open[i]);
      write_keys(mine, now(), out.subspan(i * words_of_open_row(), words_of_open_row()));
    }
  }
  void read_round(std::span<const std::uint32_t> all) {
    const std::size_t n = words_of_open_row(), of_rank = words_of_round();
    for (std::size_t i = 0; i < w_.open.size(); ++i) {
      for (std::size_t r = 0; r < ranks(); ++r) {
        read_keys(w_.open[i], r, all.subspan(r * of_rank + i * n, n), now().size());
      }
      ++w_.rounds[w_.open[i]];
    }
    ++round_;
    draw();
  }

  const logits_answer& answer() {
    w_.answer.ids = w_.ids;
    w_.answer.values = w_.values;
    w_.answer.rounds = w_.rounds;
    return w_.answer;
  }

 private:
  static constexpr std::uint32_t none = 0xffffffffu;

  std::size_t ranks() const { return w_.columns.size(); }
  interval now() const { return nucleus_round(round_, widest_); }
  std::size_t words_of_open_row() const { return logits_message::words_of_key * now().size(); }
  std::span<const std::uint32_t> of(std::span<const std::uint32_t> all, std::size_t row, std::size_t rank) const {
    return all.subspan((rank * rows_ + row) * words_, words_);
  }

  void check() const {
    const sampling& how = wanted_.how;
    if (vocabulary_ == 0 || vocabulary_ >= none)
      refuse("a vocabulary of ", vocabulary_, " ids, and takes 1 to 2^32 - 2");
    if (wanted_.kind == logits_kind::top_k && wanted_.k == 0) refuse("the best 0 ids, and takes 1 or more");
    if (wanted_.kind == logits_kind::log_softmax) {
      if (rows_ == 0 ? !wanted_.ids.empty() : wanted_.ids.size() % rows_ != 0) {
        refuse(wanted_.ids.size(), " ids for ", rows_, " rows, and takes the same number for each row");
      }
      for (const std::int64_t id : wanted_.ids) {
        if (id < 0 || static_cast<std::size_t>(id) >= vocabulary_)
          refuse("the id ", id, ", which is not in the vocabulary of ", vocabulary_);
      }
    }
    if (wanted_.kind == logits_kind::sample) {
      if (!(how.temperature == 0 || (how.temperature >= 1e-6 && how.temperature <= std::numeric_limits<double>::max())))
        refuse("a temperature that is neither 0 nor from 1e-6 on");
      if (!(how.top_p > 0 && how.top_p <= 1)) refuse("a top_p that is not above 0, and up to 1");
      if (how.temperature != 0 && positions_.size() != rows_)
        refuse(positions_.size(), " positions for ", rows_, " rows, and takes one for each: logits_options::positions");
    }
  }
  template <class... Words>
  [[noreturn]] void refuse(const Words&... words) const {
    raise(logits_error("the logits of '", module_, "': ", name_of(wanted_.kind), " was given ", words...));
  }

  // This rank's logits of a row, in `w_.row`; which ids they are of.
  const interval& read(int rank, const host_logits& logits, dtype type, std::size_t row) {
    const interval& mine = w_.columns[static_cast<std::size_t>(rank)];
    w_.row.resize(widest_);
    read_logits(type, logits.row(row), mine.size(), w_.row.data());
    return mine;
  }
  static std::uint32_t id32(std::size_t id) { return static_cast<std::uint32_t>(id); }
  static void put(std::uint32_t* to, std::uint64_t x) { std::memcpy(to, &x, sizeof x); }
  static void put(std::uint32_t* to, double x) { std::memcpy(to, &x, sizeof x); }
  template <class T>
  static T get(const std::uint32_t* from) {
    T x;
    std::memcpy(&x, from, sizeof x);
    return x;
  }

  void write_row(std::size_t row, const interval& mine, std::span<std::uint32_t> out) {
    std::fill(out.begin(), out.end(), 0);
    out[0] = none;
    for (std::size_t i = mine.size(); i-- > 0;) {
      if (w_.row[i] != w_.row[i]) out[0] = id32(mine.begin + i);
    }
    if (out[0] != none) return;  // no other word is looked at
    write_keys(mine, {0, shape_.best}, out.subspan(1, logits_message::words_of_key * shape_.best));
    if (shape_.score) {
      drawn best;
      for (std::size_t i = 0; i < mine.size(); ++i)
        best.offer(key_of(w_.row[i], id32(mine.begin + i)), positions_[row], wanted_.how);
      put(&out[1], best.key);
      put(&out[3], best.score);
    }
    for (std::size_t i = 0; i < shape_.by_id; ++i) {
      const auto id = static_cast<std::size_t>(wanted_.ids[row * shape_.by_id + i]);
      if (id >= mine.begin && id < mine.end)
        out[shape_.words_before_sum() - shape_.by_id + i] = std::bit_cast<std::uint32_t>(w_.row[id - mine.begin]);
    }
    if (shape_.sum) write_sum(mine, out.subspan(shape_.words_before_sum()));
  }
  // The best ids from place `places.begin` on, best first; 0 where there is none.
  void write_keys(const interval& mine, const interval& places, std::span<std::uint32_t> out) {
    if (places.size() == 0) return;
    w_.keys.clear();
    if (places.end == 1) {  // without a sort
      logits_key best = 0;
      for (std::size_t i = 0; i < mine.size(); ++i) best = std::max(best, key_of(w_.row[i], id32(mine.begin + i)));
      w_.keys.push_back(best);
    } else {
      for (std::size_t i = 0; i < mine.size(); ++i) w_.keys.push_back(key_of(w_.row[i], id32(mine.begin + i)));
      const auto at = [&](std::size_t i) {
        return w_.keys.begin() + static_cast<std::ptrdiff_t>(std::min(i, w_.keys.size()));
      };
      if (at(places.end) != w_.keys.end())
        std::nth_element(w_.keys.begin(), at(places.end), w_.keys.end(), std::greater<>());
      if (places.begin != 0 && at(places.begin) != w_.keys.end())
        std::nth_element(w_.keys.begin(), at(places.begin), at(places.end), std::greater<>());
      std::sort(at(places.begin), at(places.end), std::greater<>());
    }
    for (std::size_t i = 0; i < places.size(); ++i) {
      const std::size_t place = places.begin + i;
      put(&out[i * logits_message::words_of_key], place < w_.keys.size() ? w_.keys[place] : logits_key{0});
    }
  }
  void write_sum(const interval& mine, std::span<std::uint32_t> out) {
    const block_pieces pieces(mine, vocabulary_);
    const auto logits_of = [&](const interval& ids) {
      return std::span<const float>(w_.row.data() + (ids.begin - mine.begin), ids.size());
    };
    std::size_t at = 0;
    const auto as_they_are = [&](const interval& ids) {
      for (const float l : logits_of(ids)) out[at++] = std::bit_cast<std::uint32_t>(l);
    };
    as_they_are(pieces.head);
    for (std::size_t b = pieces.blocks.begin; b < pieces.blocks.end; b += logits_block) {
      const softmax_sum s = sum_of_block(logits_of({b, std::min(b + logits_block, pieces.blocks.end)}), temperature_);
      out[at] = std::bit_cast<std::uint32_t>(s.top);
      put(&out[at + 1], s.sum);
      at += block_pieces::words_of_block;
    }
    as_they_are(pieces.tail);
  }

  void refuse_nan(std::size_t row, std::span<const std::uint32_t> all) const {
    for (std::size_t r = 0; r < ranks(); ++r) {
      const std::uint32_t id = of(all, row, r)[0];
      if (id != none) refuse_row(row, "is not a number at id ", id);
    }
  }
  template <class... Words>
  [[noreturn]] void refuse_row(std::size_t row, const Words&... words) const {
    raise(logits_error("row ", row, " of the logits of '", module_, "' ", words..., ": ", name_of(wanted_.kind),
                       " has no answer"));
  }
  // `top` is the row's largest logit.
  void refuse_infinite(std::size_t row, float top) const {
    if (top == minus_infinity) refuse_row(row, "is -inf at each of its ", vocabulary_, " ids");
    if (top == -minus_infinity && (shape_.sum || wanted_.kind == logits_kind::sample) && temperature_ != 0)
      refuse_row(row, "has +inf");
  }

  void read_keys(std::size_t row, std::size_t rank, std::span<const std::uint32_t> from, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const auto key = get<logits_key>(&from[i * logits_message::words_of_key]);
      if (key == 0) break;
      best_of(row, rank).push_back(key);
    }
  }
  std::vector<logits_key>& best_of(std::size_t row, std::size_t rank) { return w_.best[row * ranks() + rank]; }

  // Gives the ids of a row to `take`, best first, as long as it returns true. False where a rank's next best is
  // unknown.
  template <class Take>
  bool best_first(std::size_t row, const Take& take) {
    w_.taken.assign(ranks(), 0);
    for (;;) {
      std::size_t from = 0;
      logits_key best = 0;
      for (std::size_t r = 0; r < ranks(); ++r) {
        const auto& list = best_of(row, r);
        const std::size_t at = w_.taken[r];
        if (at == list.size()) {
          if (at < w_.columns[r].size()) return false;
          continue;
        }
        if (list[at] > best) {
          best = list[at];
          from = r;
        }
      }
      if (best == 0) return true;
      ++w_.taken[from];
      if (!take(best)) return true;
    }
  }

  void give(std::size_t row, std::size_t i, logits_key key) {
    w_.ids[row * w_.answer.width + i] = id_of(key);
    w_.values[row * w_.answer.width + i] = static_cast<double>(logit_of(key));
  }
  void answer_best(std::size_t row) {
    std::size_t n = 0;
    best_first(row, [&](logits_key key) {
      give(row, n, key);
      return ++n < w_.answer.width;
    });
    refuse_infinite(row, static_cast<float>(w_.values[row * w_.answer.width]));
  }
  void read_score(std::size_t row, std::span<const std::uint32_t> all) {
    drawn best;
    for (std::size_t r = 0; r < ranks(); ++r) {
      const auto words = of(all, row, r);
      best.take({get<double>(&words[3]), get<logits_key>(&words[1])});
    }
    refuse_infinite(row, best.key == 0 ? minus_infinity : logit_of(best.key));
    give(row, 0, best.key);
  }

  // The sum over all ids, of what ranks tell of theirs.
  void read_sum(std::size_t row, std::span<const std::uint32_t> all) {
    w_.blocks.clear();
    w_.weighed.clear();  // of a block that ranks share
    std::size_t id = 0;
    for (std::size_t r = 0; r < ranks(); ++r) {
      const auto words = of(all, row, r).subspan(shape_.words_before_sum());
      const block_pieces pieces(w_.columns[r], vocabulary_);
      std::size_t at = 0;
      const auto as_they_are = [&](std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
          w_.weighed.push_back(std::bit_cast<float>(words[at++]));
          if (++id % logits_block == 0 || id == vocabulary_) close_block();
        }
      };
      as_they_are(pieces.head.size());
      for (std::size_t b = 0; b < pieces.block_count(); ++b, at += block_pieces::words_of_block)
        w_.blocks.push_back({std::bit_cast<float>(words[at]), get<double>(&words[at + 1])});
      id += pieces.blocks.size();
      as_they_are(pieces.tail.size());
    }
    float top = minus_infinity;
    for (const softmax_sum& b : w_.blocks) top = std::max(top, b.top);
    refuse_infinite(row, top);
    w_.sums[row] = sum_of_blocks(w_.blocks, temperature_);
  }
  void close_block() {
    w_.blocks.push_back(sum_of_block(w_.weighed, temperature_));
    w_.weighed.clear();
  }
  void answer_by_id(std::size_t row, std::span<const std::uint32_t> all) {
    const softmax_sum& s = w_.sums[row];
    for (std::size_t i = 0; i < shape_.by_id; ++i) {
      const std::size_t at = row * shape_.by_id + i;
      const auto id = static_cast<std::size_t>(wanted_.ids[at]);
      std::size_t owner = 0;
      while (id >= w_.columns[owner].end) ++owner;
      const std::uint32_t word = of(all, row, owner)[shape_.words_before_sum() - shape_.by_id + i];
      w_.ids[at] = wanted_.ids[at];
      w_.values[at] = (static_cast<double>(std::bit_cast<float>(word)) - static_cast<double>(s.top)) - std::log(s.sum);
    }
  }

  // Draws for each open row of which enough is known, and leaves the others open.
  void draw() {
    std::size_t left = 0;
    for (const std::size_t row : w_.open) {
      if (!draw(row)) w_.open[left++] = row;
    }
    w_.open.resize(left);
  }
  bool draw(std::size_t row) {
    const sampling& how = wanted_.how;
    w_.kept.clear();
    if (how.top_k != 0) {
      best_first(row, [&](logits_key key) {
        w_.kept.push_back(key);
        return w_.kept.size() < how.top_k;
      });
      refuse_infinite(row, logit_of(w_.kept[0]));
      if (how.top_p < 1) keep_nucleus(sum_of_kept());
    } else {
      const softmax_sum& s = w_.sums[row];
      double sum = 0;
      const bool known = best_first(row, [&](logits_key key) {
        w_.kept.push_back(key);
        sum += softmax_weight(logit_of(key), s.top, temperature_);
        return sum < how.top_p * s.sum;
      });
      if (!known) return false;
    }
    drawn best;
    for (const logits_key key : w_.kept) best.offer(key, positions_[row], how);
    give(row, 0, best.key);
    return true;
  }
  softmax_sum sum_of_kept() {
    w_.by_id.assign(w_.kept.begin(), w_.kept.end());
    std::sort(w_.by_id.begin(), w_.by_id.end(), [](logits_key a, logits_key b) { return id_of(a) < id_of(b); });
    w_.blocks.clear();
    w_.weighed.clear();
    for (std::size_t i = 0; i < w_.by_id.size(); ++i) {
      w_.weighed.push_back(logit_of(w_.by_id[i]));
      if (i + 1 == w_.by_id.size() || id_of(w_.by_id[i]) / logits_block != id_of(w_.by_id[i + 1]) / logits_block)
        close_block();
    }
    return sum_of_blocks(w_.blocks, temperature_);
  }
  void keep_nucleus(const softmax_sum& s) {
    double sum = 0;
    for (std::size_t i = 0; i < w_.kept.size(); ++i) {
      sum += softmax_weight(logit_of(w_.kept[i]), s.top, temperature_);
      if (sum >= wanted_.how.top_p * s.sum) return w_.kept.resize(i + 1);
    }
  }

  std::string_view module_;
  logits_policy wanted_;
  std::size_t rows_, vocabulary_;
  std::span<const std::uint64_t> positions_;
  std::size_t widest_;
  logits_message shape_;
  std::size_t words_;
  double temperature_;
  std::size_t round_ = 1;  // the next one
  logits_scratch& w_;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
