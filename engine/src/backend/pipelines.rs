//! Compiled shaders of one device.
//!
//! This module holds the one `unsafe` block of the crate's device code: production builds leave out the bounds and loop
//! checks that the library adds to shaders (an inner loop ran up to a hundred times slower with them on some drivers).

use std::borrow::Cow;
use std::collections::HashMap;

use gristmill_shaders::{Shader, Variant};

/// The pipelines that were asked for so far.
pub(super) struct Pipelines {
    device: wgpu::Device,
    is_trusted: bool,
    known: HashMap<(&'static str, &'static str), wgpu::ComputePipeline>,
}

impl Pipelines {
    /// Compiles for `device`, without run-time checks where `is_trusted`.
    pub(super) fn new(device: wgpu::Device, is_trusted: bool) -> Self {
        Self { device, is_trusted, known: HashMap::new() }
    }

    /// Returns the pipeline of a variant; a failure to compile is reported through the device's error handler.
    pub(super) fn get(&mut self, shader: &'static Shader, variant: &'static Variant) -> wgpu::ComputePipeline {
        let key = (shader.name, variant.name);
        if let Some(pipeline) = self.known.get(&key) {
            return pipeline.clone();
        }
        let pipeline = self.compile(shader, variant);
        self.known.insert(key, pipeline.clone());
        pipeline
    }

    fn compile(&self, shader: &Shader, variant: &Variant) -> wgpu::ComputePipeline {
        let module = self.module(wgpu::ShaderModuleDescriptor {
            label: Some(shader.name),
            source: wgpu::ShaderSource::Wgsl(Cow::Owned(shader.source(variant))),
        });
        self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(shader.name),
            // The layout is read out of the shader, which `engine/tests/contract.rs` compares with ours.
            layout: None,
            module: &module,
            entry_point: Some(shader.name),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        })
    }

    fn module(&self, descriptor: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
        if !self.is_trusted {
            return self.device.create_shader_module(descriptor);
        }
        // SAFETY: the text is one of our own table, which tests run with all checks on a software driver: no index
        // leaves its buffer (sizes are padded to whole tiles and stages) and every loop ends (its trips are counted by
        // the host before the dispatch).
        #[allow(unsafe_code, reason = "leaving out run-time checks is unsafe by declaration")]
        unsafe {
            self.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
        }
    }
}
