//! The fixed limits of a batch, checked before it is queued.

use super::{Batch, Op, StoreError};

/// Checks in one batch; operations in one batch.
pub const MAX_OPS: usize = 1024;
/// Bytes of a key.
pub const MAX_KEY: usize = 512;
/// Bytes of a value.
pub const MAX_VALUE: usize = 1 << 20;
/// Bytes of all keys and values of a batch together.
pub const MAX_BATCH: usize = 4 << 20;

/// Measures a batch in bytes of keys and values; [`StoreError::TooLarge`] if it breaks a limit.
pub fn measure(batch: &Batch) -> Result<usize, StoreError> {
    if batch.checks.len() > MAX_OPS || batch.ops.len() > MAX_OPS {
        return Err(StoreError::TooLarge(format!(
            "{} checks and {} operations, of at most {MAX_OPS} each",
            batch.checks.len(),
            batch.ops.len()
        )));
    }
    let mut bytes = 0;
    for (_, key, _) in &batch.checks {
        bytes += key_size(key)?;
    }
    for op in &batch.ops {
        bytes += match op {
            Op::Put(_, key, value) => key_size(key)? + value_size(value)?,
            Op::Delete(_, key) => key_size(key)?,
            Op::Append(_, value) => 8 + value_size(value)?,
        };
    }
    if bytes > MAX_BATCH {
        return Err(StoreError::TooLarge(format!("{bytes} bytes, of at most {MAX_BATCH}")));
    }
    Ok(bytes)
}

/// Whether any record can have this key: 1 to [`MAX_KEY`] bytes.
pub const fn is_key(key: &[u8]) -> bool {
    !key.is_empty() && key.len() <= MAX_KEY
}

fn key_size(key: &[u8]) -> Result<usize, StoreError> {
    match is_key(key) {
        true => Ok(key.len()),
        false => Err(StoreError::TooLarge(format!("a key of {} bytes, of 1 to {MAX_KEY}", key.len()))),
    }
}

fn value_size(value: &[u8]) -> Result<usize, StoreError> {
    match value.len() {
        0..=MAX_VALUE => Ok(value.len()),
        len => Err(StoreError::TooLarge(format!("a value of {len} bytes, of at most {MAX_VALUE}"))),
    }
}
