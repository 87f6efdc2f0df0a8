namespace SafePool.Admission;

/// <summary>A moment in the life of the idle stack, to be compared with a later one.</summary>
/// <param name="Tag">Grows by one with every push, pop, shut and opening; begins anew after 2^31.</param>
/// <param name="Count">How many places were idle.</param>
internal readonly record struct IdleMoves(int Tag, int Count)
{
    public int MovesSince(IdleMoves earlier) => (Tag - earlier.Tag) & int.MaxValue;

    /// <summary>How many places have come to rest since: exact, but for one more for each time that the stack was shut and opened again.</summary>
    public int PushesSince(IdleMoves earlier) => (int)(((long)MovesSince(earlier) + Count - earlier.Count) / 2);
}
