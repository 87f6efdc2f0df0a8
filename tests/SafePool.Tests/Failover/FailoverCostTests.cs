using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Failover;

/// <summary>What a failover may cost rents. The pair stands behind proxies, which count who knocks at which server.</summary>
public sealed class FailoverCostTests : IAsyncLifetime
{
    private const string RunsOn = "SELECT current_setting('port')::int";

    private ReplicatedPair _pair = null!;
    private TcpProxy _first = null!;
    private TcpProxy _second = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _pair = await ReplicatedPair.StartAsync(cancellationToken: Cancellation);
        _first = TcpProxy.Start(_pair.Primary.ConnectionString);
        _second = TcpProxy.Start(_pair.Standby.ConnectionString);
    }

    public async ValueTask DisposeAsync()
    {
        await _first.DisposeAsync();
        await _second.DisposeAsync();
        await _pair.DisposeAsync();
    }

    [Fact]
    public async Task RentAsync_SeveralHostsAndAConnectionIsIdle_DoesNotWait()
    {
        await using var pool = Pool();
        await pool.FillAsync(1, Cancellation);
        var waits = pool.GetSnapshot().TotalWaits;

        for (var i = 0; i < 100; i++)
        {
            await using var lease = await pool.RentAsync(Cancellation);
        }

        // Npgsql may look at a host's role again, now and then; not for every rent.
        Assert.InRange(pool.GetSnapshot().TotalWaits - waits, 0, 10);
    }

    [Fact]
    public async Task RentAsync_WhileThePrimaryIsDeadAndNobodyIsPromotedYet_WaitsAndGetsTheNewPrimary()
    {
        await using var pool = Pool();

        await _pair.Primary.StopAsync(StopMode.Kill);
        var rents = Enumerable.Range(0, 5).Select(_ => pool.RentAsync(Cancellation).AsTask()).ToArray();
        await _pair.Standby.PromoteAsync(Cancellation);

        foreach (var lease in await Task.WhenAll(rents))
        {
            Assert.Equal(_pair.Standby.Port, await lease.AskAsync<int>(RunsOn));
            await lease.DisposeAsync();
        }
    }

    [Fact]
    public async Task RentAsync_AfterAFailover_DoesNotKnockAtTheDeadHostForEveryRent()
    {
        await using var pool = Pool();
        await _pair.FailOverAsync(Cancellation);
        await Eventually.True(
            async () =>
            {
                await pool.FillAsync(1, Cancellation);
                return true;
            },
            "a rent reaches the new primary");
        var knocks = _first.TotalAccepted;

        for (var i = 0; i < 100; i++)
        {
            await using var lease = await pool.RentAsync(Cancellation);
        }

        Assert.InRange(_first.TotalAccepted - knocks, 0, 10);
    }

    private ConnectionPool Pool()
    {
        var text = new NpgsqlConnectionStringBuilder(ReplicatedPair.Over(_first.Port, _second.Port))
        {
            SslMode = SslMode.Disable,
            GssEncryptionMode = GssEncryptionMode.Disable,
            TargetSessionAttributes = "primary",
        };
        // On a busy machine a promotion takes as long as it takes.
        return ConnectionPool.Create(
            text.ConnectionString,
            options => (options.MaxSize, options.AcquireTimeout, options.Breaker.TripAfter) = (5, TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(1)));
    }
}
