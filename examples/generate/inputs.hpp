// SPDX-License-Identifier: Apache-2.0
// Prompts out of files.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "options.hpp"
#include "prompt.hpp"
#include "shardwise/checkpoint/safetensors.hpp"
#include "simdjson.h"

namespace generate {

/// A float tensor out of a .safetensors file. Throws `checkpoint_error`.
inline tensor read_tensor(const tensor_in_file& from) {
  const auto file = sw::checkpoint::safetensors_file::open(from.file);
  const std::size_t i = file.find(from.name);
  if (i == file.npos) {
    throw sw::checkpoint_error(from.file.string(), " has no tensor '", from.name,
                               "'; say which one is meant: FILE:NAME");
  }
  tensor t(file.info(i).shape);
  file.read(i, sw::box::whole(t.shape()), sw::tensor_traits<tensor>::view(t));
  return t;
}

namespace detail {

/// The fields of a prompt's JSON: nested lists of whole numbers.
class inputs_file {
 public:
  explicit inputs_file(const std::filesystem::path& path) : path_(path.string()) {
    if (const auto e = simdjson::padded_string::load(path_).get(text_); e != simdjson::SUCCESS) {
      refuse("cannot be read: ", simdjson::error_message(e));
    }
    simdjson::dom::element root;
    if (const auto e = parser_.parse(text_).get(root); e != simdjson::SUCCESS) {
      refuse("is no JSON: ", simdjson::error_message(e));
    }
    if (root.get(root_) != simdjson::SUCCESS) refuse("is JSON, but no object");
  }

  bool has(std::string_view field) const {
    simdjson::dom::element e;
    return root_.at_key(field).get(e) == simdjson::SUCCESS && !e.is_null();
  }
  /// All numbers of nested lists in order, and the lists' lengths. Every list of a depth must be equally long.
  struct numbers {
    std::vector<std::int64_t> flat;
    std::vector<std::size_t> shape;
  };
  numbers read(std::string_view field, std::size_t depth) const {
    simdjson::dom::element e;
    if (root_.at_key(field).get(e) != simdjson::SUCCESS) refuse("has no '", field, "'");
    numbers n;
    n.shape.assign(depth, unknown);
    append(field, e, 0, n);
    for (std::size_t& length : n.shape) length = length == unknown ? 0 : length;
    return n;
  }

  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    throw sw::error(path_, " ", parts...);
  }

 private:
  static constexpr std::size_t unknown = ~std::size_t{};

  void append(std::string_view field, simdjson::dom::element e, std::size_t depth, numbers& n) const {
    if (depth == n.shape.size()) {
      std::int64_t value = 0;
      if (e.get(value) != simdjson::SUCCESS) refuse("has a '", field, "' with something that is no whole number");
      n.flat.push_back(value);
      return;
    }
    simdjson::dom::array list;
    if (e.get(list) != simdjson::SUCCESS) refuse("has a '", field, "' that is not ", n.shape.size(), " lists deep");
    std::size_t length = 0;
    for (simdjson::dom::element item : list) {
      append(field, item, depth + 1, n);
      ++length;
    }
    if (n.shape[depth] != unknown && n.shape[depth] != length) {
      refuse("has a '", field, "' with lists of ", n.shape[depth], " and of ", length,
             " numbers: all rows of a batch are equally long here, without padding");
    }
    n.shape[depth] = length;
  }

  std::string path_;
  simdjson::padded_string text_;
  simdjson::dom::parser parser_;
  simdjson::dom::object root_;
};

inline void check_ids(const prompt& p, const model_config& m) {
  if (p.batch == 0 || p.tokens == 0) throw sw::error("the prompt is empty: give --tokens 1,2,3 or --inputs FILE.json");
  for (std::size_t i = 0; i < p.ids.size(); ++i) {
    if (p.ids[i] < 0 || static_cast<std::size_t>(p.ids[i]) >= m.text.vocabulary) {
      throw sw::error("token id ", p.ids[i], " at position ", i % p.tokens, " of row ", i / p.tokens,
                      " of the prompt is outside the vocabulary of ", m.text.vocabulary);
    }
    if (m.vision && p.ids[i] == m.video_token) {
      throw sw::error("the prompt has a video token (", m.video_token, "), and this engine sees images only");
    }
  }
}

inline void read_images(const inputs_file& file, const model_config& m, prompt& p) {
  if (file.has("video_grid_thw")) file.refuse("has a 'video_grid_thw', and this engine sees images only");
  const auto grids = file.read("image_grid_thw", 2);
  if (!m.vision) file.refuse("has an 'image_grid_thw', and the model has no vision tower");
  if (grids.shape[1] != 3 && grids.shape[0] != 0) file.refuse("has an 'image_grid_thw' that is not [images][3]");
  for (std::size_t i = 0; i < grids.flat.size(); i += 3) {
    for (std::size_t k = 0; k < 3; ++k) {
      const std::int64_t n = grids.flat[i + k];
      if (n < 1 || n > 100'000 || (k > 0 && static_cast<std::size_t>(n) % m.vision->merge != 0)) {
        file.refuse("has ", n, " in 'image_grid_thw'; rows and columns are positive multiples of ", m.vision->merge);
      }
    }
    p.images.push_back({static_cast<std::size_t>(grids.flat[i]), static_cast<std::size_t>(grids.flat[i + 1]),
                        static_cast<std::size_t>(grids.flat[i + 2])});
  }
}

inline void check_pixels(const prompt& p, const model_config& m) {
  const vision_config& v = *m.vision;
  std::size_t patches = 0;
  for (const grid& g : p.images) patches += g.patches();
  const sw::tensor_shape needed{patches, v.channels * v.frames * v.patch * v.patch};
  if (p.pixels.shape() == needed) return;
  throw sw::error("the images of the prompt are ", needed[0], " patches of ", needed[1],
                  " values, and --pixel-values has ", p.pixels.rows(), " rows of ", p.pixels.columns());
}

// What Hugging Face computed, where the file has it, must be what we compute.
inline void compare_places(const inputs_file& file, const prompt& p) {
  if (file.has("position_ids")) {
    const auto theirs = file.read("position_ids", 3);
    if (theirs.shape != std::vector<std::size_t>{3, p.batch, p.tokens}) {
      file.refuse("has 'position_ids' that are not [3][", p.batch, "][", p.tokens, "]");
    }
    const std::size_t n = p.batch * p.tokens;
    for (std::size_t i = 0; i < 3 * n; ++i) {
      const std::int64_t ours = p.at.axis[i / n][i % n];
      if (ours != theirs.flat[i]) {
        file.refuse("has position ", theirs.flat[i], " for token ", i % n % p.tokens, " of row ", i % n / p.tokens,
                    " on axis ", i / n, ", and by its images it is ", ours);
      }
    }
  }
  if (file.has("rope_deltas")) {
    const auto theirs = file.read("rope_deltas", 2);
    if (theirs.flat != p.deltas) file.refuse("has 'rope_deltas' that are not those of its images");
  }
  if (file.has("mm_token_type_ids") && p.images.empty()) {
    for (std::int64_t type : file.read("mm_token_type_ids", 2).flat) {
      if (type != 0) file.refuse("has 'mm_token_type_ids' of images, and no 'image_grid_thw'");
    }
  }
}

}  // namespace detail

/// The prompt that the command line names, checked against the model. Throws `error` or `checkpoint_error`.
inline prompt read_prompt(const options& o, const model_config& m) {
  prompt p;
  if (o.inputs.empty()) {
    p.batch = 1;
    p.tokens = o.tokens.size();
    p.ids = o.tokens;
    detail::check_ids(p, m);
    if (o.pixels) throw sw::error("--pixel-values needs the images' grids: give --inputs with image_grid_thw");
    place_tokens(p, m);
    return p;
  }
  const detail::inputs_file file(o.inputs);
  auto ids = file.read("input_ids", 2);
  p.batch = ids.shape[0];
  p.tokens = ids.shape[1];
  p.ids = std::move(ids.flat);
  detail::check_ids(p, m);
  if (file.has("image_grid_thw")) {
    detail::read_images(file, m, p);
    if (!o.pixels) file.refuse("has images: give their pixels with --pixel-values FILE[:NAME]");
  }
  if (o.pixels) {
    if (p.images.empty()) file.refuse("has no 'image_grid_thw', which --pixel-values needs");
    p.pixels = read_tensor(*o.pixels);
    detail::check_pixels(p, m);
  }
  place_tokens(p, m);
  detail::compare_places(file, p);
  return p;
}

}  // namespace generate
