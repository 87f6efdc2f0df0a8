using System.Data;
using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Pool;

/// <summary>Real threads, failures of every kind, and time that races: whatever happens, nothing is lost and nothing is counted twice.</summary>
public sealed class ConnectionPoolChurnTests(ITestOutputHelper output)
{
    private const int Workers = 6;
    private const int Rounds = 1_500;
    private const int MaxSize = 4;

    [Fact]
    [Trait("Conformance", "3")]
    [Trait("Conformance", "95")]
    public async Task Churn_WithFailuresCancellationsAndClears_EveryGaugeReturnsToZero()
    {
        var seed = Random.Shared.Next();
        output.WriteLine($"seed {seed}");
        await using var scripted = ScriptedPool.Create(options =>
            (options.MaxSize, options.MaxConcurrentOpens, options.MaxWaiters, options.MaxLifetime) =
                (MaxSize, 2, 3, TimeSpan.FromMinutes(1)));

        var churn = Task.WhenAll(Enumerable.Range(0, Workers).Select(worker => Task.Factory.StartNew(
            () => Work(scripted, new Random(seed + worker)),
            TestContext.Current.CancellationToken,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default).Unwrap()));
        await Eventually.True(
            () =>
            {
                scripted.Tick();
                return churn.IsCompleted;
            },
            "the workers are done",
            TimeSpan.FromSeconds(60));
        await churn;

        scripted.Source.FailOpensWith = null;
        await scripted.UntilAsync(pool => pool.Leased == 0 && pool.Waiting == 0 && pool.Opening == 0 && pool.Quarantined == 0);
        Assert.True(scripted.Snapshot.TotalClosed <= scripted.Snapshot.TotalOpened, scripted.Snapshot.ToString());
        Assert.InRange(scripted.Source.PeakAlive, 1, MaxSize);
        Assert.InRange(scripted.Source.PeakConcurrentOpens, 1, 2);
        Assert.Equal(0, scripted.Source.ClosedWhileExecuting);
        await scripted.RentManyAsync(MaxSize);
        Assert.Equal((MaxSize, MaxSize), (scripted.Snapshot.Leased, scripted.Source.Alive));
    }

    [Fact]
    [Trait("Conformance", "95")]
    public async Task Churn_TheServerRefusesEverything_EveryGaugeReturnsToZero()
    {
        await using var scripted = ScriptedPool.Create(options => (options.MaxSize, options.MaxConcurrentOpens) = (MaxSize, 2));
        scripted.Source.FailOpensWith = OpenErrors.ForGood();

        var rents = await Task.WhenAll(Enumerable.Range(0, 200).Select(_ => Task.Run(FailAsync, TestContext.Current.CancellationToken)));

        Assert.All(rents, Assert.True);
        await scripted.UntilAsync(pool => pool.Opening == 0);
        Assert.Equal((0, 0, 0), (scripted.Snapshot.Leased, scripted.Snapshot.Idle, scripted.Snapshot.Waiting));
        Assert.Equal(0, scripted.Source.Alive);

        async Task<bool> FailAsync() => await Record.ExceptionAsync(() => scripted.BeginRent()) is NpgsqlException;
    }

    private static async Task Work(ScriptedPool scripted, Random random)
    {
        for (var round = 0; round < Rounds; round++)
        {
            Disturb(scripted, random);
            try
            {
                var lease = await RentAsync(scripted.Pool, random);
                if (lease != default)
                {
                    await UseAndReturnAsync(scripted, lease, random);
                }
            }
            catch (Exception expected) when (expected is PoolException or NpgsqlException or OperationCanceledException)
            {
                // What a caller of a disturbed pool has to expect.
            }
        }
    }

    private static async ValueTask<Lease> RentAsync(ConnectionPool pool, Random random)
    {
        switch (random.Next(4))
        {
            case 0:
                return pool.Rent();
            case 1:
                return pool.TryRent(out var lease) ? lease : default;
            case 2:
                using (var cancellation = new CancellationTokenSource())
                {
                    var rent = pool.RentAsync(cancellation.Token);
                    Thread.SpinWait(random.Next(100));
                    await cancellation.CancelAsync();
                    return await rent;
                }

            default:
                return await pool.RentAsync(new RentOptions { AcquireTimeout = TimeSpan.FromSeconds(random.Next(3)) });
        }
    }

    private static async ValueTask UseAndReturnAsync(ScriptedPool scripted, Lease lease, Random random)
    {
        Thread.SpinWait(random.Next(200));
        switch (random.Next(12))
        {
            case 0:
                scripted.Source.Break(lease.Connection);
                break;
            case 1:
                scripted.Source.SetState(lease.Connection, ConnectionState.Executing);
                break;
            case 2:
                scripted.Source.SetState(lease.Connection, ConnectionState.Fetching);
                break;
            case 3:
                scripted.Source.FailCloseOf(lease.Connection, new NpgsqlException("close"));
                break;
        }

        if (random.Next(2) == 0)
        {
            lease.Dispose();
        }
        else
        {
            await lease.DisposeAsync();
        }
    }

    private static void Disturb(ScriptedPool scripted, Random random)
    {
        switch (random.Next(100))
        {
            case 0:
                scripted.Pool.Clear();
                break;
            case < 4:
                scripted.Source.FailOpensWith = OpenErrors.ForGood();
                break;
            case < 20:
                scripted.Source.FailOpensWith = null;
                break;
        }
    }
}
