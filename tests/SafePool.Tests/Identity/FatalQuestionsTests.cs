using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using SafePool.Tests.Outages;
using Xunit;

namespace SafePool.Tests.Identity;

/// <summary>A firewall in between lets the application's statements pass, and ends every connection that asks what the pool asks for its own sake.</summary>
public sealed class FatalQuestionsTests : IAsyncLifetime
{
    private const int OpenFailed = 121;
    private const int NotAsked = 144;

    private string _server = "";

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _server = await Outside.SharedServerAsync();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Theory]
    [InlineData("pg_settings", "58000", false)]
    [InlineData("pg_settings", "XX000", false)]
    [InlineData("pg_settings", "08P01", true)]
    [InlineData("pg_settings", null, false)]
    [InlineData("pg_stat_get_activity", "58000", false)]
    [InlineData("pg_stat_get_activity", "58000", true)]
    [InlineData("pg_stat_get_activity", "XX000", false)]
    [InlineData("pg_stat_get_activity", "08P01", false)]
    [InlineData("pg_stat_get_activity", "57P01", false)]
    [InlineData("pg_stat_get_activity", "42501", false)]
    [InlineData("pg_stat_get_activity", null, false)]
    [InlineData("pg_stat_get_activity", null, true)]
    [InlineData("pg_", "58000", false)]
    [InlineData("pg_", null, true)]
    public async Task RentAsync_AQuestionEndsTheConnection_IsServedWithoutIt(string forbidden, string? state, bool blocking)
    {
        await using var fake = FakeServer.Start(session => session.PassUnlessAsync(Port(), Has(forbidden), state));
        await using var server = await CreateAsync(fake, options => options.StatementTimeout = TimeSpan.FromSeconds(7));

        await UseAsync(server, blocking);

        server.Pool.Clear();
        await UseAsync(server, blocking);
        Assert.Equal(CircuitState.Closed, server.Snapshot.Circuit);
        Assert.Equal(1, server.Logs.Entries.Count(entry => entry.EventId.Id == NotAsked));
        Assert.DoesNotContain(server.Logs.Entries, entry => entry.EventId.Id == OpenFailed);
    }

    [Fact]
    public async Task RentAsync_SeveralAtOnce_LearnItOnce()
    {
        await using var fake = FakeServer.Start(session => session.PassUnlessAsync(Port(), Has("pg_stat_get_activity"), "58000"));
        await using var server = await CreateAsync(fake, options => options.MaxSize = 8);

        // The sessions that end take idle ones with them.
        for (var burst = 0; burst < 3; burst++)
        {
            await server.BurstAsync(8, Cancellation);
        }

        var accepted = fake.Accepted;
        await server.BurstAsync(8, Cancellation);

        Assert.Equal(accepted, fake.Accepted);
        Assert.DoesNotContain(server.Logs.Entries, entry => entry.EventId.Id == OpenFailed);
    }

    /// <summary>Everything is let in and nothing is served: that is an outage, and no question's fault.</summary>
    [Theory]
    [InlineData("58000")]
    [InlineData(null)]
    public async Task RentAsync_NothingPasses_IsAnOutage(string? state)
    {
        await using var fake = FakeServer.Start(session => session.PassUnlessAsync(Port(), sql => !sql.Contains("pg_type", StringComparison.Ordinal), state));
        await using var server = await CreateAsync(fake, options => options.AcquireTimeout = TimeSpan.FromSeconds(30));
        var waiting = server.UseAsync(Cancellation);
        await Eventually.True(() => fake.Accepted >= 4, "it was tried");
        Assert.False(waiting.IsCompleted);

        fake.Script = session => session.PassUnlessAsync(Port(), _ => false, null);

        await waiting;
        Assert.DoesNotContain(server.Logs.Entries, entry => entry.EventId.Id == NotAsked);
        await using var lease = await server.Pool.RentAsync(Cancellation);
        Assert.Equal(1, (await server.Pool.GetServerReportAsync(Cancellation)).OfThisPool);
    }

    private static Func<string, bool> Has(string forbidden) => sql => sql.Contains(forbidden, StringComparison.Ordinal) && !sql.Contains("pg_type", StringComparison.Ordinal);

    private static async Task UseAsync(PoolOnServer server, bool blocking)
    {
        if (blocking)
        {
            using var held = server.Pool.Rent();
            Assert.Equal(1, held.Ask<int>("SELECT 1"));
            Assert.Equal("7s", held.Ask<string>("SHOW statement_timeout"));
        }
        else
        {
            await using var held = await server.Pool.RentAsync(Cancellation);
            Assert.Equal(1, await held.AskAsync<int>("SELECT 1"));
            Assert.Equal("7s", await held.AskAsync<string>("SHOW statement_timeout"));
        }
    }

    private int Port() => new NpgsqlConnectionStringBuilder(_server).Port;

    private Task<PoolOnServer> CreateAsync(FakeServer fake, Action<ConnectionPoolOptions> configure)
        => PoolOnServer.CreateAsync(
            options =>
            {
                (options.MaxSize, options.WatchServer) = (2, false);
                options.AcquireTimeout = options.ConnectTimeout = TimeSpan.FromSeconds(30);
                configure(options);
            },
            text => (text.Port, text.SslMode, text.GssEncryptionMode) = (fake.Port, SslMode.Disable, GssEncryptionMode.Disable),
            server: _server);
}
