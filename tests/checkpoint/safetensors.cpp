// SPDX-License-Identifier: Apache-2.0
#include "shardwise/checkpoint/safetensors.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "support.hpp"

using namespace support;
using sw::dtype;
using sw::tensor_view;
using sw::checkpoint::safetensors_file;

static_assert(sw::tensor_source<safetensors_file>);

namespace {

const std::string two_tensors =
    R"({"__metadata__":{"format":"pt"},"a.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
    R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]}})";
const std::string two_tensors_data("\0\0\0\0\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\x80\x3f\0\x40\x40\x40", 22);

/// Opens what must be refused, and gives the sentence. Anything else that happens fails the test.
std::string refusal(const std::string& bytes) {
  static const temporary_folder folder;
  write_file(folder / "bad.safetensors", bytes);
  try {
    safetensors_file::open(folder / "bad.safetensors");
  } catch (const sw::checkpoint_error& e) {
    const std::string text = e.what();
    CHECK(text.find((folder / "bad.safetensors").string()) == 0);
    return text;
  }
  return "accepted";
}
/// The same of one tensor `t`, with 8 bytes of data.
std::string refusal_of_tensor(const std::string& fields) {
  return refusal(safetensors_bytes(R"({"t":{)" + fields + "}}", "12345678"));
}

}  // namespace

TEST_CASE("a file gives names, dtypes, shapes and elements, in its own order") {
  const temporary_folder folder;
  write_file(folder / "f", safetensors_bytes(two_tensors + "   ", two_tensors_data));  // padded by blanks, misaligned
  const safetensors_file opened = safetensors_file::open(folder / "f");
  safetensors_file file = safetensors_file::open(folder / "f");
  file = safetensors_file::open(folder / "f");  // moving keeps all views
  for (const safetensors_file* f : {&opened, &std::as_const(file)}) {
    REQUIRE(f->size() == 2);
    CHECK(f->info(0).name == "a.weight");
    CHECK(f->info(0).type == dtype::f32);
    CHECK(f->info(0).shape == sw::tensor_shape{2, 2});
    CHECK(f->info(1).name == "b");
    CHECK(f->info(1).type == dtype::bf16);
    CHECK(f->find("b") == 1);
    CHECK(f->find("c") == safetensors_file::npos);
    float a[2] = {};
    f->read(0, {{0, 1}, {2, 1}}, tensor_view(a, dtype::f32, {2, 1}));
    CHECK((a[0] == 1.0f && a[1] == 3.0f));
    float b[3] = {};
    f->read(1, {{0}, {3}}, tensor_view(b, dtype::f32, {3}));
    CHECK((b[0] == 1.0f && b[1] == 2.0f && b[2] == 3.0f));
    CHECK(f->bytes_read() == 8 + 6);
  }
}

TEST_CASE("a file may hold nothing, scalars, and tensors without elements") {
  const temporary_folder folder;
  write_file(folder / "nothing", safetensors_bytes("{}", ""));
  CHECK(safetensors_file::open(folder / "nothing").size() == 0);
  write_file(folder / "odd", safetensors_bytes(R"({"scalar":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
                                               R"("empty":{"dtype":"F32","shape":[0,5],"data_offsets":[8,8]},)"
                                               R"("first":{"dtype":"U8","shape":[3,0],"data_offsets":[0,0]}})",
                                               std::string("\x2a\0\0\0\0\0\0\0", 8)));
  const auto file = safetensors_file::open(folder / "odd");
  std::int64_t scalar = 0;
  file.read(0, {}, tensor_view(&scalar, dtype::i64, {}));
  CHECK(scalar == 42);
  CHECK_NOTHROW(file.read(1, sw::box::whole({0, 5}), tensor_view(nullptr, dtype::f32, {0, 5})));
}

TEST_CASE("a file that cannot be opened is refused with the system's reason") {
  const temporary_folder folder;
  CHECK_THROWS_MATCHES(safetensors_file::open(folder / "none"), sw::checkpoint_error, says("No such file"));
  CHECK_THROWS_MATCHES(safetensors_file::open(folder.path()), sw::checkpoint_error, says("Is a directory"));
}

TEST_CASE("a header that does not fit its file is refused") {
  CHECK_THAT(refusal(""), Catch::Matchers::ContainsSubstring("has 0 bytes"));
  CHECK_THAT(refusal("1234567"), Catch::Matchers::ContainsSubstring("has 7 bytes"));
  CHECK_THAT(refusal(std::string("\x09\0\0\0\0\0\0\0{}      ", 16)),
             Catch::Matchers::ContainsSubstring("its header has 9 bytes, and the file ends after 8"));
  CHECK_THAT(refusal(std::string("\x01\xe1\xf5\x05\0\0\0\0{}", 10)),
             Catch::Matchers::ContainsSubstring("more than 100000000 bytes"));
  CHECK_THAT(refusal(std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10)),
             Catch::Matchers::ContainsSubstring("more than 100000000 bytes"));
  CHECK_THAT(refusal(std::string(8, '\0')), Catch::Matchers::ContainsSubstring("does not begin with '{'"));
}

TEST_CASE("a header that is not the JSON of the format is refused") {
  const auto header = [](const std::string& text) { return refusal(safetensors_bytes(text, "")); };
  CHECK_THAT(header(" {}"), Catch::Matchers::ContainsSubstring("does not begin with '{'"));
  CHECK_THAT(header("[]"), Catch::Matchers::ContainsSubstring("does not begin with '{'"));
  CHECK_THAT(header("{"), Catch::Matchers::ContainsSubstring("is not valid JSON"));
  CHECK_THAT(header("{}{}"), Catch::Matchers::ContainsSubstring("is not valid JSON"));
  CHECK_THAT(header("{\"\xff\":1}"), Catch::Matchers::ContainsSubstring("is not valid JSON"));
  CHECK_THAT(header("{" + std::string(5000, '[')), Catch::Matchers::ContainsSubstring("is not valid JSON"));
  CHECK_THAT(header(R"({"a":)" + std::string(5000, '[') + std::string(5000, ']') + "}"),
             Catch::Matchers::ContainsSubstring("is not valid JSON"));
  CHECK_THAT(header(R"({"t":1})"), Catch::Matchers::ContainsSubstring("the tensor 't' is no JSON object"));
  CHECK_THAT(header(R"({"__metadata__":[]})"), Catch::Matchers::ContainsSubstring("'__metadata__' that is no object"));
  CHECK_THAT(header(R"({"__metadata__":{"a":1}})"), Catch::Matchers::ContainsSubstring("'a' is no text"));
  CHECK_THAT(header(R"({"__metadata__":{},"__metadata__":{}})"), Catch::Matchers::ContainsSubstring("twice"));
  CHECK_THAT(header(R"({"t":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"\u0074":{"dtype":"F32","shape":[0],)"
                    R"("data_offsets":[0,0]}})"),
             Catch::Matchers::ContainsSubstring("has the key 't' twice"));
}

TEST_CASE("every field of a tensor is checked, and named in the refusal") {
  const auto refused = [](const std::string& fields, const std::string& text) {
    INFO(fields);
    const std::string sentence = refusal_of_tensor(fields);
    CHECK_THAT(sentence, Catch::Matchers::ContainsSubstring("the tensor 't' "));
    CHECK_THAT(sentence, Catch::Matchers::ContainsSubstring(text));
  };
  const std::string shape = R"("shape":[2])", offsets = R"("data_offsets":[0,8])", f32 = R"("dtype":"F32")";
  CHECK(refusal_of_tensor(f32 + "," + shape + "," + offsets) == "accepted");

  refused(shape + "," + offsets, "'dtype'");
  refused(R"("dtype":7,)" + shape + "," + offsets, "'dtype'");
  refused(R"("dtype":"F33",)" + shape + "," + offsets, "'dtype' 'F33'");
  refused(R"("dtype":"f32",)" + shape + "," + offsets, "'dtype' 'f32'");

  refused(f32 + "," + offsets, "'shape'");
  refused(f32 + R"(,"shape":2,)" + offsets, "'shape'");
  refused(f32 + R"(,"shape":[-2],)" + offsets, "'shape'");
  refused(f32 + R"(,"shape":[2.0],)" + offsets, "'shape'");
  refused(f32 + R"(,"shape":["2"],)" + offsets, "'shape'");
  refused(f32 + R"(,"shape":[1,1,1,1,1,1,1,1,2],)" + offsets, "'shape' of more than 8 dims");
  refused(f32 + R"(,"shape":[4611686018427387905,2],)" + offsets, "too many elements");  // 2^65 + 8 bytes: 8, wrapped
  refused(f32 + R"(,"shape":[4294967296,4294967296],)" + offsets, "too many elements");
  refused(f32 + R"(,"shape":[4294967296,4294967296,0],"data_offsets":[0,0])", "too many elements");
  refused(R"("dtype":"U8","shape":[9223372036854775808],)" + offsets, "too many elements");

  CHECK_THAT(refusal_of_tensor(f32 + R"(,"shape":[18446744073709551616],)" + offsets),
             Catch::Matchers::ContainsSubstring("is not valid JSON"));

  refused(f32 + "," + shape, "'data_offsets'");
  refused(f32 + "," + shape + R"(,"data_offsets":[0])", "'data_offsets'");
  refused(f32 + "," + shape + R"(,"data_offsets":[0,8,8])", "'data_offsets'");
  refused(f32 + "," + shape + R"(,"data_offsets":[-8,0])", "'data_offsets'");
  refused(f32 + "," + shape + R"(,"data_offsets":[0,8.0])", "'data_offsets'");
  refused(f32 + "," + shape + R"(,"data_offsets":{"0":8})", "'data_offsets'");
  refused(f32 + "," + shape + R"(,"data_offsets":[8,0])", "end before they begin");
  refused(f32 + R"(,"shape":[4],"data_offsets":[0,16])", "up to 16, and the data ends at 8");
  refused(f32 + "," + shape + R"(,"data_offsets":[18446744073709551608,18446744073709551615])", "the data ends at 8");
  refused(f32 + R"(,"shape":[1],)" + offsets, "8 bytes apart, and F32[1] is 4 bytes");
  refused(R"("dtype":"F64",)" + shape + "," + offsets, "8 bytes apart, and F64[2] is 16 bytes");
  refused(f32 + R"(,"shape":[0],)" + offsets, "8 bytes apart");
}

TEST_CASE("tensors that overlap, and bytes that are no tensor's, are refused") {
  const auto pair = [](const std::string& a, const std::string& b) {
    return refusal(safetensors_bytes(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + a +
                                         R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + b + "}}",
                                     "12345678"));
  };
  CHECK(pair("[0,4]", "[4,8]") == "accepted");
  CHECK(pair("[4,8]", "[0,4]") == "accepted");
  CHECK_THAT(pair("[0,4]", "[3,7]"),
             Catch::Matchers::ContainsSubstring("the tensor 'b' has 'data_offsets' that overlap 'a'"));
  CHECK_THAT(pair("[2,6]", "[0,4]"),
             Catch::Matchers::ContainsSubstring("the tensor 'a' has 'data_offsets' that overlap 'b'"));
  CHECK_THAT(pair("[4,8]", "[4,8]"), Catch::Matchers::ContainsSubstring("bytes from 0 on are no tensor's"));
  CHECK_THAT(pair("[0,4]", "[0,4]"), Catch::Matchers::ContainsSubstring("overlap"));
  CHECK_THAT(
      refusal(safetensors_bytes(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
                                R"("b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
                                "12345678")),
      Catch::Matchers::ContainsSubstring("the tensor 'b' has 'data_offsets' from 4 on, and the bytes from 3 on"));
  CHECK_THAT(refusal(safetensors_bytes(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", "12345678")),
             Catch::Matchers::ContainsSubstring("has 4 bytes after its last tensor"));
  CHECK_THAT(refusal(safetensors_bytes("{}", "1")), Catch::Matchers::ContainsSubstring("has 1 bytes after"));
}

TEST_CASE("a name out of a bad file cannot spoil the sentence") {
  const std::string sentence =
      refusal(safetensors_bytes(R"({"a\n\u001b[31m)" + std::string(5000, 'x') + R"(":{"dtype":1}})", ""));
  CHECK(sentence.find('\n') == std::string::npos);
  CHECK(sentence.find('\x1b') == std::string::npos);
  CHECK_THAT(sentence, Catch::Matchers::ContainsSubstring("'dtype'"));
}

TEST_CASE("a file that is cut off anywhere is refused") {
  const std::string bytes = safetensors_bytes(two_tensors, two_tensors_data);
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    INFO(n);
    CHECK(refusal(bytes.substr(0, n)) != "accepted");
  }
  CHECK(refusal(bytes) == "accepted");
}

TEST_CASE("whatever bytes are changed, a file is refused in words or can be read whole") {
  const temporary_folder folder;
  const std::string good = safetensors_bytes(two_tensors, two_tensors_data);
  dice d(7);
  std::size_t accepted = 0, refused = 0;
  for (int round = 0; round < 5000; ++round) {
    std::string bytes = good;
    for (std::size_t n = 1 + d.below(3); n-- > 0;) {
      const std::size_t at = d.below(bytes.size());
      switch (d.below(4)) {
        case 0: bytes[at] = static_cast<char>(d.below(256)); break;
        case 1: bytes[at] = "0123456789-[]{},:\" .e"[d.below(21)]; break;
        case 2: bytes.erase(at, 1 + d.below(4)); break;
        default: bytes.insert(at, 1, "0123456789[]{},:\""[d.below(17)]); break;
      }
    }
    write_file(folder / "f", bytes);
    try {
      const auto file = safetensors_file::open(folder / "f");
      ++accepted;
      for (std::size_t i = 0; i < file.size(); ++i) {
        const sw::tensor_info info = file.info(i);
        std::vector<std::byte> all(info.shape.elements() * sw::size_of(info.type));
        file.read(i, sw::box::whole(info.shape), tensor_view(all.data(), info.type, info.shape));
      }
    } catch (const sw::checkpoint_error&) {
      ++refused;
    }
  }
  CHECK(accepted > 100);  // a changed name or element is no fault
  CHECK(refused > 2500);
}
