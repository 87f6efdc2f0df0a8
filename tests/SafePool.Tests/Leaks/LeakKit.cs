using System.Text.RegularExpressions;
using SafePool.TestKit;

namespace SafePool.Tests.Leaks;

/// <summary>Short words for what tests of leak reports do.</summary>
internal static partial class LeakKit
{
    public const int Leak = 100;
    public const int ReturnedAfterAll = 102;
    public const int Busy = 103;
    public const int ListenerFailed = 104;
    public const int Nested = 105;

    /// <summary>After how much quiet a lease is abandoned in a pool of <see cref="CreateAbandoning"/>.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    /// <summary>What was logged under an event id, oldest first.</summary>
    public static string[] Said(this LogCollector log, int eventId)
        => [.. log.Entries.Where(entry => entry.EventId.Id == eventId).Select(entry => entry.Message)];

    /// <summary>Rents at a line of <c>OrderStore.cs</c>.</summary>
    public static async Task<Lease> RentAtAsync(this ScriptedPool scripted, int line, RentOptions? options = null)
        => options is null
            ? await scripted.Pool.RentAsync(CancellationToken.None, "LoadAsync", "/src/OrderStore.cs", line)
            : await scripted.Pool.RentAsync(options, CancellationToken.None, "LoadAsync", "/src/OrderStore.cs", line);

    public static ScriptedPool CreateAbandoning(int size, Action<ConnectionPoolOptions>? configure = null)
        => ScriptedPool.Create(options =>
        {
            (options.MaxSize, options.Leaks.AbandonAfter) = (size, Patience);
            configure?.Invoke(options);
        });

    /// <summary>Lets maintenance run until a waiter is served.</summary>
    public static async Task<Lease> TickUntilAsync(this ScriptedPool scripted, Task<Lease> rent)
    {
        await Eventually.True(
            () =>
            {
                scripted.Tick();
                return rent.IsCompleted;
            },
            "the waiter is served");
        return await rent;
    }

    /// <summary>False for a lease that was taken away.</summary>
    public static bool IsHeld(Lease lease)
    {
        try
        {
            return lease.Connection is not null;
        }
        catch (LeaseAbandonedException)
        {
            return false;
        }
    }

    /// <summary>Waits for a lease for as long as it takes.</summary>
    public static Task<Lease> BeginPatientRent(this ScriptedPool scripted) => scripted.BeginRent(Timeout.InfiniteTimeSpan);

    /// <summary>The lease as a snapshot shows it.</summary>
    public static LeaseHolder HolderOf(this ScriptedPool scripted, Lease lease)
        => scripted.Snapshot.Holders.Single(holder => holder.LeaseId == lease.Id);

    /// <summary>The number of the lease that a line of log is about.</summary>
    public static long LeaseIn(string message) => long.Parse(LeaseNumber().Match(message).Groups[1].Value, System.Globalization.CultureInfo.InvariantCulture);

    [GeneratedRegex(@"lease (\d+)")]
    private static partial Regex LeaseNumber();
}
