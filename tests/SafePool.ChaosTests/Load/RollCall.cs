using SafePool.TestKit;

namespace SafePool.ChaosTests.Load;

/// <summary>Proves that no permit was lost and none was made up: exactly <c>MaxSize</c> leases can be out at once, and each of them works.</summary>
internal static class RollCall
{
    /// <summary>Every failure throws away at least one connection that an outage has killed unseen, so this comes to an end.</summary>
    private static readonly TimeSpan _patience = TimeSpan.FromSeconds(15);

    /// <exception cref="TimeoutException">It did not succeed; the inner exception is the last failure.</exception>
    public static Task CallAsync(Round round)
        => Eventually.True(() => TryCallAsync(round), $"{round.MaxSize} leases are out at once and each of them works", _patience);

    private static async Task<bool> TryCallAsync(Round round)
    {
        var leases = new List<Lease>();
        try
        {
            var rents = Enumerable.Range(0, round.MaxSize).Select(_ => RentAsync(round, leases)).ToArray();
            await Task.WhenAll(rents);
            if (round.Pool.TryRent(out var surplus))
            {
                surplus.Dispose();
                round.Journal.Violate($"{round.MaxSize} leases were out, and there was one more");
            }

            await Task.WhenAll(leases.Select(lease => Question.AskAsync(new Session(lease), round.Resets, CancellationToken.None)));
            return true;
        }
        catch (Invariants.WrongAnswerException wrong)
        {
            round.Journal.Violate($"roll call: {wrong.Message}");
            throw;
        }
        finally
        {
            foreach (var lease in leases)
            {
                await lease.DisposeAsync();
            }
        }
    }

    private static async Task RentAsync(Round round, List<Lease> leases)
    {
        var lease = await round.Pool.RentAsync(new RentOptions { AcquireTimeout = TimeSpan.FromSeconds(5) }, CancellationToken.None);
        lock (leases)
        {
            leases.Add(lease);
        }
    }
}
