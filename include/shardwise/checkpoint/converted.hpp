// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "shardwise/checkpoint/config.hpp"
#include "shardwise/checkpoint/conversion.hpp"
#include "shardwise/checkpoint/conversions/experts.hpp"
#include "shardwise/checkpoint/conversions_for.hpp"
#include "shardwise/checkpoint/detail/converter.hpp"
#include "shardwise/checkpoint/detail/read_part.hpp"
#include "shardwise/checkpoint/tensor_source.hpp"
#include "shardwise/detail/list.hpp"

namespace shardwise {
inline namespace v0 {
namespace checkpoint {

/// A source under the model's names; made by `converted`. A read asks the source only for what the box touches.
template <class Source>
class converted_source {
 public:
  static constexpr std::size_t npos = detail::name_index::npos;

  converted_source(Source&& source, std::span<const conversion> rules) : source_(std::forward<Source>(source)) {
    std::vector<tensor_info> file;
    for (std::size_t i = 0; i < source_.size(); ++i) file.push_back(source_.info(i));
    const checkpoint::config* config = nullptr;
    if constexpr (requires { source_.config(); }) config = &source_.config();
    detail::converter work(file, config);
    for (const conversion& rule : rules) {
      if (rule.tile > 1) {
        detail::raise(plan_error("the conversion into ", detail::in_quotes(rule.to.at[0]),
                                 " pads, and padding is for an engine's own tensors: see joined"));
      }
      work.apply(rule);
    }
    tensors_ = std::move(work).result();
    for (std::size_t i = 0; i < tensors_.size(); ++i) index_.add(tensors_[i].name, i);
  }

  std::size_t size() const { return tensors_.size(); }
  tensor_info info(std::size_t i) const { return {tensors_[i].name, tensors_[i].type, tensors_[i].shape}; }
  /// The index of a parameter; `npos` if there is none of that name.
  std::size_t find(std::string_view name) const { return index_.find(name); }
  /// Was it assembled, and of which parts? Else it is a tensor of the source as it is, whose index is `first_tensor`.
  bool assembled(std::size_t i) const { return tensors_[i].assembled; }
  std::span<const part> parts(std::size_t i) const { return tensors_[i].parts; }
  std::size_t first_tensor(std::size_t i) const { return tensors_[i].tensor; }
  /// The boxes of the source's tensors that a box of a parameter is made of: what `read` reads.
  std::vector<source_box> boxes(std::size_t i, const box& what) const {
    std::vector<source_box> all;
    if (!tensors_[i].assembled) all.push_back({tensors_[i].tensor, what});
    for (part p : tensors_[i].parts) {
      if (!detail::part_inside(p, what)) continue;
      detail::for_each_box(p, [&](const box& b, const tensor_shape&) { all.push_back({p.tensor, b}); });
    }
    return all;
  }
  const std::remove_reference_t<Source>& source() const { return source_; }
  /// See `tensor_source`.
  void read(std::size_t i, const box& what, const tensor_view& to) const {
    const detail::converted_tensor& t = tensors_[i];
    if (!t.assembled) return source_.read(t.tensor, what, to);
    detail::check_read(t.name, t.type, t.shape, what, to);
    for (const part& p : t.parts) detail::read_part(source_, p, what, to);
  }

  std::size_t bytes_read() const requires requires(const std::remove_reference_t<Source>& s) { s.bytes_read(); }
  { return source_.bytes_read(); }
  const checkpoint::config& config() const requires requires(const std::remove_reference_t<Source>& s) { s.config(); }
  { return source_.config(); }

 private:
  Source source_;
  std::vector<detail::converted_tensor> tensors_;
  detail::name_index index_;
};

/// `source` under the model's names: what `rules` take is assembled, all else keeps its name. An lvalue is referred to
/// and must outlive the result; an rvalue moves into it. Names are checked at once, nothing is read. Throws
/// `checkpoint_error` for a tensor that is missing or unlike the others, by name, and `plan_error` for a rule that
/// makes no sense.
template <class Source>
requires tensor_source<std::remove_cvref_t<Source>> converted_source<Source> converted(
    Source&& source, std::span<const conversion> rules) {
  return converted_source<Source>(std::forward<Source>(source), rules);
}

/// The same by the rules that the source's config asks for (`conversions_for`), or, if it has none,
/// `default_conversions`.
template <class Source>
requires tensor_source<std::remove_cvref_t<Source>> converted_source<Source> converted(Source&& source) {
  if constexpr (requires { source.config(); }) {
    const std::vector<conversion> rules = conversions_for(source.config());
    return converted_source<Source>(std::forward<Source>(source), rules);
  } else {
    return converted_source<Source>(std::forward<Source>(source), default_conversions());
  }
}

}  // namespace checkpoint
}  // namespace v0
}  // namespace shardwise
