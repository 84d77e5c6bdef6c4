//! Compiled programs as bytes, so that they can be kept in a file.

use super::CompiledFilter;
use super::assemble::MAX_INSTRUCTIONS;
use super::instruction::Instruction;

/// What the bytes begin with. The last byte is the version of the layout.
const MAGIC: [u8; 8] = *b"PALISC\0\x02";

/// The bytes are not what [`CompiledFilter::to_bytes`] wrote on this architecture.
///
/// This finds a file that is cut off or of another version. It is no protection against somebody who may write the
/// file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these are not the bytes of a filter compiled for {} by this version", std::env::consts::ARCH)]
pub struct CorruptFilter;

impl CompiledFilter {
    /// The filter as bytes: magic, length and name of the architecture, flags, count of instructions, the instructions. Integers are
    /// little-endian.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let architecture = std::env::consts::ARCH;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(length(architecture.len()));
        bytes.extend(architecture.bytes());
        bytes.extend(self.flags.to_le_bytes());
        bytes.extend(length(self.program.len()));
        bytes.extend(self.program.iter().flat_map(instruction_bytes));
        bytes
    }

    /// The filter that [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    ///
    /// Another layout or architecture, an empty program, more instructions than the compiler makes, bytes missing or left over.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CorruptFilter> {
        let mut reader = Reader { left: bytes };
        reader.expect(&MAGIC)?;
        let architecture = std::env::consts::ARCH;
        reader.expect(&length(architecture.len()))?;
        reader.expect(architecture.as_bytes())?;
        let flags = u32::from_le_bytes(reader.take()?);
        let count = reader.length(1, MAX_INSTRUCTIONS)?;
        let program = (0..count).map(|_| instruction(&mut reader)).collect::<Result<_, _>>()?;
        if !reader.left.is_empty() {
            return Err(CorruptFilter);
        }
        Ok(Self { program, flags })
    }
}

fn instruction(reader: &mut Reader<'_>) -> Result<Instruction, CorruptFilter> {
    let code = u16::from_le_bytes(reader.take()?);
    let [jt, jf] = reader.take()?;
    Ok(Instruction { code, jt, jf, k: u32::from_le_bytes(reader.take()?) })
}

fn instruction_bytes(instruction: &Instruction) -> impl Iterator<Item = u8> {
    let code = instruction.code.to_le_bytes().into_iter();
    code.chain([instruction.jt, instruction.jf]).chain(instruction.k.to_le_bytes())
}

/// A length that [`Reader::length`] bounds far below 2^16; saturating, so that a larger one is refused there.
fn length(count: usize) -> [u8; 2] {
    u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes()
}

struct Reader<'a> {
    left: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], CorruptFilter> {
        let (taken, left) = self.left.split_first_chunk::<N>().ok_or(CorruptFilter)?;
        self.left = left;
        Ok(*taken)
    }

    fn expect(&mut self, bytes: &[u8]) -> Result<(), CorruptFilter> {
        self.left = self.left.strip_prefix(bytes).ok_or(CorruptFilter)?;
        Ok(())
    }

    /// A length from `min` to `max`.
    fn length(&mut self, min: usize, max: usize) -> Result<usize, CorruptFilter> {
        let length = usize::from(u16::from_le_bytes(self.take()?));
        if (min..=max).contains(&length) { Ok(length) } else { Err(CorruptFilter) }
    }
}
