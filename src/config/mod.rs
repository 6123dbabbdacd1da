//! Configuration: the file's raw shape, validated once into [`settings::Settings`].

pub mod settings;
