//! Names that are refused on whatever they are called: a method's receiver has no type here, so the name decides.

use super::rules::Rule;

/// Bytes of a name.
pub(super) const NAME_BYTES: usize = 64;

/// Methods and associated functions, without tch's prefix `f_`. Most are tch's; a test compares them with its sources.
pub(super) const REFUSED: &[(&str, Rule)] = &[
    // tch: files and streams.
    ("load", Rule::TorchFiles),
    ("load_data", Rule::TorchFiles),
    ("load_data_on_device", Rule::TorchFiles),
    ("load_from_stream", Rule::TorchFiles),
    ("load_multi", Rule::TorchFiles),
    ("load_multi_from_stream", Rule::TorchFiles),
    ("load_multi_from_stream_with_device", Rule::TorchFiles),
    ("load_multi_with_device", Rule::TorchFiles),
    ("load_on_device", Rule::TorchFiles),
    ("load_partial", Rule::TorchFiles),
    ("loadz_multi", Rule::TorchFiles),
    ("loadz_multi_with_device", Rule::TorchFiles),
    ("save", Rule::TorchFiles),
    ("save_multi", Rule::TorchFiles),
    ("save_multi_to_stream", Rule::TorchFiles),
    ("save_to_stream", Rule::TorchFiles),
    ("read_npy", Rule::TorchFiles),
    ("read_npz", Rule::TorchFiles),
    ("write_npy", Rule::TorchFiles),
    ("write_npz", Rule::TorchFiles),
    ("read_safetensors", Rule::TorchFiles),
    ("write_safetensors", Rule::TorchFiles),
    ("fill_safetensors", Rule::TorchFiles),
    ("from_file", Rule::TorchFiles),
    ("from_file_out", Rule::TorchFiles),
    // tch: one for the whole process.
    ("manual_seed", Rule::TorchGlobal),
    ("manual_seed_all", Rule::TorchGlobal),
    ("cuda_if_available", Rule::TorchGlobal),
    ("set_num_threads", Rule::TorchGlobal),
    ("set_num_interop_threads", Rule::TorchGlobal),
    ("set_user_enabled_cudnn", Rule::TorchGlobal),
    ("cudnn_set_benchmark", Rule::TorchGlobal),
    ("set_print_options", Rule::TorchGlobal),
    ("set_print_options_default", Rule::TorchGlobal),
    ("set_print_options_full", Rule::TorchGlobal),
    ("set_print_options_short", Rule::TorchGlobal),
    ("set_profiling_mode", Rule::TorchGlobal),
    ("set_graph_executor_optimize", Rule::TorchGlobal),
    ("set_tensor_expr_fuser_enabled", Rule::TorchGlobal),
    ("fuser_cuda_set_enabled", Rule::TorchGlobal),
    // tch: memory.
    ("data_ptr", Rule::TorchInternal),
    ("as_ptr", Rule::TorchInternal),
    ("as_mut_ptr", Rule::TorchInternal),
    ("from_ptr", Rule::TorchInternal),
    ("clone_from_ptr", Rule::TorchInternal),
    ("from_blob", Rule::TorchInternal),
    // Safe by their signatures, but tch does not compare the lengths that it is given.
    ("from_data_size", Rule::TorchInternal),
    ("copy_data_u8", Rule::TorchInternal),
    ("segment_reduce", Rule::TorchInternal),
    ("embedding_dense_backward", Rule::TorchInternal),
    ("as_strided", Rule::TorchStorage),
    ("as_strided_", Rule::TorchStorage),
    ("as_strided_copy", Rule::TorchStorage),
    ("as_strided_copy_out", Rule::TorchStorage),
    ("as_strided_scatter", Rule::TorchStorage),
    ("as_strided_scatter_out", Rule::TorchStorage),
    ("set_", Rule::TorchStorage),
    ("set_data", Rule::TorchStorage),
    ("set_source_tensor", Rule::TorchStorage),
    ("set_source_tensor_", Rule::TorchStorage),
    ("set_source_tensor_out", Rule::TorchStorage),
    ("set_source_tensor_storage_offset_", Rule::TorchStorage),
    ("set_out", Rule::TorchStorage),
    ("resize_", Rule::TorchStorage),
    ("resize_as_", Rule::TorchStorage),
    ("print", Rule::Output),
    // std::path::Path, should a value of it ever be had without naming it.
    ("exists", Rule::Files),
    ("try_exists", Rule::Files),
    ("metadata", Rule::Files),
    ("symlink_metadata", Rule::Files),
    ("canonicalize", Rule::Files),
    ("read_dir", Rule::Files),
    ("read_link", Rule::Files),
    ("is_file", Rule::Files),
    ("is_dir", Rule::Files),
];

/// The rule that refuses a method or associated function of this name.
pub(super) fn refused(name: &str) -> Option<Rule> {
    let plain = name.strip_prefix("f_").unwrap_or(name);
    // Sparse tensors are made without a look at their indices.
    let sparse = plain.starts_with("to_sparse") || (plain.starts_with("sparse_") && plain.contains("_tensor"));
    if plain.starts_with("internal_") || plain.contains("unsafe") || sparse {
        return Some(Rule::TorchInternal);
    }
    REFUSED.iter().find(|(refused, _)| *refused == plain).map(|(_, rule)| *rule)
}
