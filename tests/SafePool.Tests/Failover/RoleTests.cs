using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Failover;

/// <summary>What a host is, is asked of every session, and asked again when there is reason.</summary>
public sealed class RoleTests : IAsyncLifetime
{
    private const string RunsOn = "SELECT current_setting('port')::int";

    private ReplicatedPair _pair = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _pair = await ReplicatedPair.StartAsync(cancellationToken: Cancellation);

    public ValueTask DisposeAsync() => _pair.DisposeAsync();

    /// <summary>Both names lead to the demoted server; then one of them moves on.</summary>
    [Fact]
    public async Task RentAsync_BothNamesLeadToAStandbyForLongerThanTheBreakerWaits_HealsByItselfOnceOneLeadsToThePrimary()
    {
        await using var writer = new SwitchedForwarder(_pair.Standby.Port);
        await using var reader = new SwitchedForwarder(_pair.Standby.Port);
        await using var pool = Pool($"{ReplicatedPair.Over(writer.Port, reader.Port)};Target Session Attributes=primary", TimeSpan.FromSeconds(1));
        for (var began = TimeProvider.System.GetTimestamp(); TimeProvider.System.GetElapsedTime(began) < TimeSpan.FromSeconds(8);)
        {
            Assert.NotNull(await Record.ExceptionAsync(() => AskAsync(pool)));
        }

        writer.LeadTo(_pair.Primary.Port);

        await Eventually.True(async () => await Record.ExceptionAsync(() => AskAsync(pool)) is null, "rents are served", TimeSpan.FromSeconds(3));
        Assert.Equal(_pair.Primary.Port, await AskAsync(pool));
        const string Sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'roles'";
        await Eventually.True(async () => await _pair.Standby.QueryAsync(Sessions, Cancellation) is 0L, "nothing is left on the standby");
    }

    [Theory]
    [InlineData("primary", true)]
    [InlineData("read-write", true)]
    [InlineData("standby", false)]
    [InlineData("read-only", false)]
    [InlineData("prefer-primary", null)]
    [InlineData("prefer-standby", null)]
    [InlineData("any", null)]
    public async Task RentAsync_OneHostAndATarget_ServesIfItFits(string target, bool? fitsPrimary)
    {
        foreach (var (server, isPrimary) in new[] { (_pair.Primary, true), (_pair.Standby, false) })
        {
            await using var pool = Pool($"{server.ConnectionString};Target Session Attributes={target}", TimeSpan.FromSeconds(1));
            if (fitsPrimary is null || fitsPrimary == isPrimary)
            {
                Assert.Equal(server.Port, await AskAsync(pool));
                continue;
            }

            var failure = await Record.ExceptionAsync(() => AskAsync(pool));
            var reason = Assert.IsAssignableFrom<NpgsqlException>(Assert.IsType<CircuitOpenException>(failure).InnerException);
            Assert.Contains($"'Target Session Attributes={target}'", reason.Message, StringComparison.Ordinal);
            Assert.Contains($"127.0.0.1:{server.Port} is {(isPrimary ? "a primary" : "a standby")}", reason.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Rent_BlockingAndTheFirstHostHasTheWrongRole_GetsTheOther()
    {
        await using var pool = Pool($"{ReplicatedPair.Over(_pair.Standby.Port, _pair.Primary.Port)};Target Session Attributes=primary");

        using var lease = pool.Rent();

        Assert.Equal(_pair.Primary.Port, lease.Ask<int>(RunsOn));
    }

    [Fact]
    public async Task RentAsync_OneHostWithATargetIsPromoted_IsServedThen()
    {
        await using var pool = Pool($"{_pair.Standby.ConnectionString};Target Session Attributes=primary", TimeSpan.FromMinutes(1));
        var rent = AskAsync(pool);

        await _pair.FailOverAsync(Cancellation);

        Assert.Equal(_pair.Standby.Port, await rent);
    }

    [Fact]
    public async Task RentAsync_PreferStandbyAndTheStandbyComesBack_MovesBackToIt()
    {
        await using var pool = Pool($"{_pair.ConnectionString};Target Session Attributes=prefer-standby;Host Recheck Seconds=1");
        await _pair.Standby.StopAsync();
        await pool.FillAsync(3, Cancellation);
        Assert.Equal(_pair.Primary.Port, await AskAsync(pool));

        await _pair.Standby.StartAgainAsync(Cancellation);

        await Eventually.True(async () => await AllRunOnAsync(pool, _pair.Standby.Port), "all are on the standby again", TimeSpan.FromSeconds(15));
    }

    [Fact]
    public async Task RentAsync_TheStandbyOfAPoolForReadsIsPromoted_IsSaidAndNothingMovesBeforeThat()
    {
        await using var logs = new Logs();
        await using var pool = Pool($"{_pair.ConnectionString};Target Session Attributes=prefer-standby;Host Recheck Seconds=1", logs: logs.Collector);
        await pool.FillAsync(2, Cancellation);
        Assert.Equal(_pair.Standby.Port, await AskAsync(pool));

        await _pair.Standby.PromoteAsync(Cancellation);

        await UseUntilAsync(pool, () => logs.Collector.Entries.Any(entry => entry.EventId.Id == 150));
        Assert.InRange(pool.GetSnapshot().TotalOpened, 2, 6);
        var said = logs.Collector.Entries.First(entry => entry.EventId.Id == 150).Message;
        Assert.Contains($"127.0.0.1:{_pair.Standby.Port} was a standby and is a primary", said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task RentAsync_ALonePrimaryTurnsReadOnly_ItsSessionsAreRetiredOnceAndItIsSaid()
    {
        await using var logs = new Logs();
        await using var pool = Pool(_pair.Primary.ConnectionString, logs: logs.Collector);
        await pool.FillAsync(3, Cancellation);
        await _pair.Primary.QueryAsync("ALTER SYSTEM SET default_transaction_read_only = on", Cancellation);
        await _pair.Primary.QueryAsync("SELECT pg_reload_conf()", Cancellation);

        // The first write that is refused says it.
        await Eventually.True(
            async () =>
            {
                await Record.ExceptionAsync(() => WriteAsync(pool));
                return logs.Collector.Entries.Any(entry => entry.EventId.Id == 150);
            },
            "it is said",
            TimeSpan.FromSeconds(15));
        await UseUntilAsync(pool, () => pool.GetSnapshot().TotalOpened >= 4);

        Assert.Contains("was a primary and is a read-only primary", Assert.Single(logs.Collector.Entries, entry => entry.EventId.Id == 150).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task RentAsync_ALoneHostThatWasThePrimaryIsAStandbyNow_ItIsSaid()
    {
        await using var address = new SwitchedForwarder(_pair.Primary.Port);
        await using var logs = new Logs();
        await using var pool = Pool(address.ConnectionString(_pair.Primary.ConnectionString), logs: logs.Collector);
        await pool.FillAsync(2, Cancellation);

        address.LeadTo(_pair.Standby.Port);
        pool.Clear();
        await pool.FillAsync(2, Cancellation);

        Assert.Contains("was a primary and is a standby", Assert.Single(logs.Collector.Entries, entry => entry.EventId.Id == 150).Message, StringComparison.Ordinal);
    }

    /// <summary>The session is right about its server, but the name leads to another one by now.</summary>
    [Fact]
    public async Task Suspect_TheNameLeadsToThePrimaryAgain_TheSessionsOnTheStandbyAreRetired()
    {
        await using var address = new SwitchedForwarder(_pair.Standby.Port);
        await using var pool = Pool(address.ConnectionString(_pair.Primary.ConnectionString));
        await pool.FillAsync(3, Cancellation);
        address.LeadTo(_pair.Primary.Port);

        pool.Parts.Roles.Suspect();

        await Eventually.True(async () => await AllRunOnAsync(pool, _pair.Primary.Port), "all are on the primary");
    }

    private static async Task WriteAsync(ConnectionPool pool)
    {
        await using var lease = await pool.RentAsync(Cancellation);
        await using var command = lease.CreateCommand("CREATE TABLE not_in_a_read_only_session ()");
        await command.ExecuteNonQueryAsync(Cancellation);
    }

    private static async Task UseUntilAsync(ConnectionPool pool, Func<bool> condition)
        => await Eventually.True(
            async () =>
            {
                await Record.ExceptionAsync(() => AskAsync(pool));
                return condition();
            },
            "it has happened while the pool is used",
            TimeSpan.FromSeconds(15));

    private static async Task<bool> AllRunOnAsync(ConnectionPool pool, int port)
    {
        var leases = await pool.RentAsync(2, Cancellation);
        var ports = new List<int>();
        foreach (var lease in leases)
        {
            ports.Add(await lease.AskAsync<int>(RunsOn));
        }

        await leases.ReturnAllAsync();
        return ports.TrueForAll(found => found == port);
    }

    private static async Task<int> AskAsync(ConnectionPool pool)
    {
        await using var lease = await pool.RentAsync(Cancellation);
        return await lease.AskAsync<int>(RunsOn);
    }

    private static ConnectionPool Pool(string text, TimeSpan? tripAfter = null, LogCollector? logs = null)
    {
        var options = new ConnectionPoolOptions
        {
            ConnectionString = new NpgsqlConnectionStringBuilder(text) { ApplicationName = "roles" }.ConnectionString,
            MaxSize = 5,
            AcquireTimeout = TimeSpan.FromMinutes(1),
        };
        options.Breaker.TripAfter = tripAfter ?? TimeSpan.FromMinutes(1);
        return new ConnectionPool(options, logs);
    }

    /// <summary>Disposed after the pool that writes to it.</summary>
    private sealed class Logs : IAsyncDisposable
    {
        public LogCollector Collector { get; } = new();

        public ValueTask DisposeAsync()
        {
            Collector.Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
