// SPDX-License-Identifier: Apache-2.0
// What Hugging Face 5.23.0 does to tensors while it loads them and is not done here, by its names: it changes values,
// or makes a kernel's own layout of them.
#pragma once
#include <string_view>

namespace shardwise {
inline namespace v0 {
namespace checkpoint {
namespace conversions {

/// An operation that is not supported. Where a config says `quant_method` and a name has the fragment `shown_by`, the
/// checkpoint needs it, and the error says so.
struct changed_values {
  std::string_view name;          ///< as Hugging Face calls it
  std::string_view quant_method;  ///< of quantization_config; "" for files of another format (GGUF)
  std::string_view shown_by;      ///< "": the tensors are loaded as they are, and stay quantised
};

inline constexpr changed_values not_supported[] = {
    {"Mxfp4Deserialize", "mxfp4", "proj_blocks"},
    {"Mxfp4Dequantize", "mxfp4", "proj_scales"},
    {"Bnb4bitDeserialize", "bitsandbytes", ".weight.{absmax,nested_absmax,quant_map}"},
    {"Bnb8bitDeserialize", "bitsandbytes", ".SCB"},
    {"BitNetDeserialize", "bitnet", ".weight_scale"},
    {"CompressedTensorsDequantize", "compressed-tensors", ".weight_{packed,scale}"},
    {"ConvertFP8LinearScale", "compressed-tensors", ""},
    {"FpQuantDeserialize", "fp_quant", ".{qweight,dqweight}"},
    {"MetalDequantize", "metal", ".qbiases"},
    {"SinqDeserialize", "sinq", ".W_q"},
    {"TorchAoDeserialize", "torchao", ".weight:_data"},
    {"Fp8Dequantize", "fp8", ""},
    // On the fly, of weights that the checkpoint has whole: nothing of it is in the file.
    {"Bnb4bitQuantize", "", ""},
    {"Bnb8bitQuantize", "", ""},
    {"EetqQuantize", "", ""},
    {"FbgemmFp8Quantize", "", ""},
    {"FourOverSixQuantize", "", ""},
    {"Fp8Quantize", "", ""},
    {"FpQuantQuantize", "", ""},
    {"MetalQuantize", "", ""},
    {"Mxfp4Quantize", "", ""},
    {"NVFP4Quantize", "", ""},
    {"QuantoQuantize", "", ""},
    {"SinqQuantize", "", ""},
    {"TorchAoQuantize", "", ""},
    // Of GGUF files, which are not read.
    {"Cast", "", ""},
    {"Dequantize", "", ""},
    {"LogNegate", "", ""},
    {"PermuteInputFeatures", "", ""},
    {"PermuteRows", "", ""},
    {"SubtractOne", "", ""},
    {"Unsqueeze", "", ""},
};

}  // namespace conversions
}  // namespace checkpoint
}  // namespace v0
}  // namespace shardwise
