using System.Runtime.InteropServices;

namespace SafePool.Admission;

/// <summary>The places whose connection is at rest, as a lock-free stack that can be shut.</summary>
/// <remarks>
/// <para>
/// Everything is in one word, <c>tag:31 | shut:1 | count:16 | top:16</c>, moved only by compare-and-swap. The tag grows with every
/// move, so a word that was read cannot come back while its reader sleeps (ABA) until two thousand million moves have passed.
/// </para>
/// <para>Invariant: shut implies empty. A shut stack refuses pushes, so that what comes back goes to whoever waits.</para>
/// </remarks>
internal sealed class IdleStack(int places)
{
    private const long TagUnit = 1L << 33;
    private const long ShutBit = 1L << 32;
    private const long CountUnit = 1L << 16;
    private const long TopMask = 0xFFFF;

    private readonly ushort[] _below = new ushort[places];
    private PaddedWord _word;

    public int Count => CountOf(Volatile.Read(ref _word.Value));

    public bool IsShut => (Volatile.Read(ref _word.Value) & ShutBit) != 0;

    /// <summary>How far it has moved, and how many lie on it, in one read.</summary>
    public IdleMoves Moves
    {
        get
        {
            var seen = Volatile.Read(ref _word.Value);
            return new IdleMoves((int)(seen >>> 33), CountOf(seen));
        }
    }

    public bool TryPop(out int place)
    {
        var seen = Volatile.Read(ref _word.Value);
        while (CountOf(seen) > 0)
        {
            place = (int)(seen & TopMask);
            // May be stale when another thread pops this place first; the tag then makes the swap fail.
            var below = Volatile.Read(ref _below[place]);
            var next = ((seen + TagUnit) & ~TopMask) - CountUnit | below;
            var found = Interlocked.CompareExchange(ref _word.Value, next, seen);
            if (found == seen)
            {
                return true;
            }

            seen = found;
        }

        place = -1;
        return false;
    }

    public bool TryPush(int place)
    {
        var seen = Volatile.Read(ref _word.Value);
        while ((seen & ShutBit) == 0)
        {
            Volatile.Write(ref _below[place], (ushort)(seen & TopMask));
            var next = ((seen + TagUnit) & ~TopMask) + CountUnit | (uint)place;
            var found = Interlocked.CompareExchange(ref _word.Value, next, seen);
            if (found == seen)
            {
                return true;
            }

            seen = found;
        }

        return false;
    }

    /// <summary>Shuts the stack if it is empty; false when something lies on it, which the caller then takes instead of waiting.</summary>
    public bool TryShut()
    {
        var seen = Volatile.Read(ref _word.Value);
        while (CountOf(seen) == 0)
        {
            var found = Interlocked.CompareExchange(ref _word.Value, (seen + TagUnit) | ShutBit, seen);
            if (found == seen)
            {
                return true;
            }

            seen = found;
        }

        return false;
    }

    /// <summary>Lets pushes in again. Only the holder of the gate's lock shuts and opens, and nobody else moves a shut word.</summary>
    public void Open() => Volatile.Write(ref _word.Value, (Volatile.Read(ref _word.Value) + TagUnit) & ~ShutBit);

    private static int CountOf(long word) => (int)((word >> 16) & 0xFFFF);

    // Alone on its cache lines: every rent and return writes it, and neighbours would slow down with it.
    [StructLayout(LayoutKind.Explicit, Size = 192)]
    private struct PaddedWord
    {
        [FieldOffset(64)]
        public long Value;
    }
}
