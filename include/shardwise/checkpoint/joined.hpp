// SPDX-License-Identifier: Apache-2.0
// An engine's own layout, said in the algebra of conversions: each parameter is cut first, and a rank's pieces are then
// joined.
#pragma once
#include <concepts>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "shardwise/checkpoint/conversion.hpp"
#include "shardwise/checkpoint/detail/converter.hpp"
#include "shardwise/checkpoint/tensor_source.hpp"
#include "shardwise/detail/list.hpp"
#include "shardwise/model/tensor_view.hpp"
#include "shardwise/shard/sharding.hpp"

namespace shardwise {
inline namespace v0 {
namespace checkpoint {

/// One rank's tensors as the engine holds them; made by `joined`. `size()` and `info(i)` say what to allocate.
class joined_tensors {
 public:
  static constexpr std::size_t npos = detail::name_index::npos;

  joined_tensors(const sharding& s, int rank, std::span<const conversion> rules) {
    std::vector<tensor_info> local;
    for (std::size_t i = 0; i < s.size(); ++i) local.push_back({s[i].name, s[i].type, s.local_shape(i, rank)});
    detail::converter work(local, nullptr);
    for (const conversion& rule : rules) work.apply(rule);
    tensors_ = std::move(work).result();
    places_.resize(s.size());
    for (std::size_t t = 0; t < tensors_.size(); ++t) {
      index_.add(tensors_[t].name, t);
      const detail::converted_tensor& made = tensors_[t];
      if (!made.assembled) {
        places_[made.tensor] = {t, detail::assembly::whole(made.tensor, made.shape).parts[0], true};
      }
      for (const part& p : made.parts) place_part(t, p, local[p.tensor]);
    }
    for (std::size_t i = 0; i < s.size(); ++i) {
      parameters_.push_back(std::string(s[i].name));
      if (!places_[i].known && local[i].shape.elements() != 0) refuse_apart(local[i].name);
    }
    for (std::size_t i = 0; i < parameters_.size(); ++i) parameter_index_.add(parameters_[i], i);
  }
  joined_tensors(const joined_tensors&) = delete;

  std::size_t size() const { return tensors_.size(); }
  /// The engine's tensor `t`: its name, its type, and its shape on this rank, padding included.
  tensor_info info(std::size_t t) const { return {tensors_[t].name, tensors_[t].type, tensors_[t].shape}; }
  /// The index of an engine's tensor; `npos` if there is none of that name.
  std::size_t find(std::string_view name) const { return index_.find(name); }

  /// What `load` takes for weights: `engine(t)` is asked for the engine's tensor `t`, and gives a `tensor_view` or a
  /// tensor that has `tensor_traits`; `load` fills the parts of it that the parameters are. Padding is not written to:
  /// allocate it zeroed. The result refers to this object, and to an `engine` that is an lvalue. Throws
  /// `checkpoint_error` for a tensor of another shape, and for another sharding or rank.
  template <std::invocable<std::size_t> Engine>
  auto weights(Engine&& engine) const {
    return [this, kept = held<Engine>{std::forward<Engine>(engine)}](const sharded_parameter& p,
                                                                     const tensor_shape& local) mutable {
      const std::size_t known = parameter_index_.find(p.name);
      if (known == npos || !is_piece(places_[known], local)) {
        detail::raise(checkpoint_error("the piece ", detail::shape_text(local), " of ", detail::in_quotes(p.name),
                                       " is none of those that were joined: give load the sharding and the rank that "
                                       "joined was given"));
      }
      const place& at = places_[known];
      decltype(auto) tensor = kept.engine(at.tensor);
      return inside(tensor_traits<std::remove_cvref_t<decltype(tensor)>>::view(tensor), at, local);
    };
  }

 private:
  template <class Engine>
  struct held {
    Engine engine;
  };
  // Where a rank's piece of a parameter is in the engine's tensor: all of it, at regular distances.
  struct place {
    std::size_t tensor = 0;
    part where;
    bool known = false;
  };

  static bool is_piece(const place& at, const tensor_shape& local) {
    if (!at.known) return local.elements() == 0;
    bool is = true;
    for (std::size_t d = 0; is && d < local.dims(); ++d) {
      const std::size_t axis = at.where.axis[d];
      is = axis < at.where.at.extent.dims() && at.where.at.extent[axis] == local[d];
    }
    return is;
  }
  void place_part(std::size_t t, const part& p, const tensor_info& local) {
    bool all = !places_[p.tensor].known && p.from.dims() == local.shape.dims();
    for (std::size_t d = 0; all && d < local.shape.dims(); ++d) {
      all = p.from[d] == 0 && p.every[d] == 1 && p.at.extent[p.axis[d]] == local.shape[d];
    }
    if (!all) refuse_apart(local.name);
    places_[p.tensor] = {t, p, true};
  }
  [[noreturn]] static void refuse_apart(std::string_view name) {
    detail::raise(
        plan_error("the engine's layout takes ", detail::in_quotes(name),
                   " apart, and a rank's piece of a parameter goes to one place: split it on the way in, with "
                   "rules for converted and a plan for its parts"));
  }

  tensor_view inside(tensor_view whole, const place& at, const tensor_shape& local) const {
    const detail::converted_tensor& made = tensors_[at.tensor];
    if (!(whole.shape == made.shape)) {
      detail::raise(checkpoint_error("the engine's tensor ", detail::in_quotes(made.name), " has the shape ",
                                     detail::shape_text(whole.shape), ", and must be ", detail::shape_text(made.shape),
                                     " on this rank"));
    }
    tensor_view view;
    view.type = whole.type;
    view.shape = local;
    if (!at.known || local.elements() == 0 || whole.data == nullptr) return view;
    std::size_t first = 0;
    for (std::size_t d = 0; d < made.shape.dims(); ++d) first += at.where.at.offset[d] * whole.strides[d];
    for (std::size_t d = 0; d < local.dims(); ++d) {
      const std::size_t axis = at.where.axis[d];
      view.strides[d] = whole.strides[axis] * at.where.step[axis];
    }
    view.data = static_cast<std::byte*>(whole.data) + first * size_of(whole.type);
    return view;
  }

  std::vector<detail::converted_tensor> tensors_;
  std::vector<place> places_;  // by parameter
  std::vector<std::string> parameters_;
  detail::name_index index_, parameter_index_;
};

/// The layout that an engine has for `rank`'s tensors: what `rules` take of them is joined, all else keeps its name.
/// Each parameter is cut by its own rule of the plan first:
/// ```
/// constexpr auto fused = convert::rules({
///     convert::concat("q_proj", "k_proj", "v_proj").into("qkv_proj"),
///     convert::concat("gate_proj", "up_proj").into("gate_up_proj").padded_to(128),
/// });
/// const auto mine = joined(sharding, rank, fused);
/// load(sharding, rank, model, mine.weights(engine));
/// ```
/// Whatever joins, stacks, transposes or interleaves is possible; what takes a parameter apart is refused. Not a
/// collective. Throws `checkpoint_error` for pieces that do not fit together, and `plan_error` for rules that make no
/// sense.
inline joined_tensors joined(const sharding& s, int rank, std::span<const conversion> rules) {
  return joined_tensors(s, rank, rules);
}

}  // namespace checkpoint
}  // namespace v0
}  // namespace shardwise
