namespace SafePool.TestKit;

/// <summary>Asserts that a pool has got everything back.</summary>
public static class Outstanding
{
    /// <summary>Waits until no lease is out, nobody waits and nothing is opening or quarantined; after that says who still holds what.</summary>
    /// <exception cref="InvalidOperationException">Something is still out.</exception>
    public static async Task NoneAsync(IConnectionPool pool, TimeSpan? timeout = null)
    {
        try
        {
            await Eventually.True(
                () => pool.GetSnapshot() is { Leased: 0, Waiting: 0, Opening: 0, Quarantined: 0 }, "everything is back in the pool", timeout);
        }
        catch (Exception vain)
        {
            var now = pool.GetSnapshot();
            var holders = now.Holders.IsEmpty ? "no lease has a holder" : string.Join("; ", now.Holders);
            throw new InvalidOperationException(
                $"Pool '{now.Name}': {now.Leased} leased, {now.Waiting} waiting, {now.Opening} opening, {now.Quarantined} quarantined: {holders}.", vain);
        }
    }
}
