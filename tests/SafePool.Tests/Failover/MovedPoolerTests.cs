using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Failover;

/// <summary>A pooler by session that is one by transaction tomorrow: nobody says so, and a reset would reach strangers.</summary>
public sealed class MovedPoolerTests : IAsyncLifetime
{
    private const int PoolerFound = 141;
    private const int PathMoved = 152;
    private const string Locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";

    private static readonly TimeSpan _bound = TimeSpan.FromSeconds(25);

    private readonly LogCollector _logs = new();
    private PostgresServer _server = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _server = await PostgresServer.StartAsync(cancellationToken: Cancellation);

    public ValueTask DisposeAsync()
    {
        _logs.Dispose();
        return _server.DisposeAsync();
    }

    /// <summary>With one backend behind the pooler every reset of the pool's would reach that of the stranger.</summary>
    [Theory]
    [InlineData(1, 1, false)]
    [InlineData(1, 1, true)]
    [InlineData(3, 1, false)]
    [InlineData(3, 20, false)]
    [InlineData(3, 20, true)]
    public async Task Rent_TheAddressMovesFromOneBySessionToOneByTransaction_NoStrangerIsReset(int connections, int backends, bool blocking)
    {
        await using var bySession = await BouncerAsync(PoolMode.Session, backends: 20);
        await using var byTransaction = await BouncerAsync(PoolMode.Transaction, backends);
        await using var address = new SwitchedForwarder(bySession.Port);
        await using var pool = Pool(address.Port, TimeSpan.FromSeconds(1), connections);
        await pool.FillAsync(connections, Cancellation);
        await using var stranger = await StrangerAsync(byTransaction);

        address.LeadTo(byTransaction.Port);
        await Eventually.True(
            async () =>
            {
                await UseAsync(pool, connections, blocking);
                Assert.Equal(1L, await _server.QueryAsync(Locks, Cancellation));
                return Says(PathMoved);
            },
            "the pool has noticed",
            _bound);

        var opened = pool.GetSnapshot().TotalOpened;
        await Eventually.True(
            async () =>
            {
                await UseAsync(pool, connections, blocking);
                Assert.Equal(1L, await _server.QueryAsync(Locks, Cancellation));
                return pool.GetSnapshot().TotalOpened > opened + (2 * connections);
            },
            "all were renewed twice",
            _bound);
        Assert.Single(_logs.Entries, entry => entry.EventId.Id == PathMoved);
    }

    [Fact]
    public async Task RentAsync_ThePoolerIsToldToGoByTransaction_IsNoticedByTheNextOpen()
    {
        await using var bouncer = await BouncerAsync(PoolMode.Session, backends: 20);
        await using var pool = Pool(bouncer.Port, TimeSpan.FromSeconds(1), 2);
        await pool.FillAsync(2, Cancellation);

        await bouncer.CommandAsync("SET pool_mode='transaction'", Cancellation);
        await Eventually.True(
            async () =>
            {
                await UseAsync(pool, 2, blocking: false);
                return Says(PathMoved);
            },
            "the pool has noticed",
            _bound);

        await using var stranger = await StrangerAsync(bouncer);
        for (var i = 0; i < 20; i++)
        {
            await UseAsync(pool, 2, blocking: false);
        }

        Assert.Equal(1L, await _server.QueryAsync(Locks, Cancellation));
    }

    /// <summary>The second connection of a survey gets no backend there: that says nothing.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Rent_APoolerBySessionHasNoBackendToSpare_WhatWasFoundHolds(bool blocking)
    {
        await using var bouncer = await BouncerAsync(PoolMode.Session, backends: 2);
        await using var pool = Pool(bouncer.Port, TimeSpan.FromSeconds(1), 2);

        await Eventually.True(
            async () =>
            {
                await UseAsync(pool, 2, blocking);
                return pool.GetSnapshot().TotalOpened >= 8;
            },
            "all were renewed a few times",
            _bound);

        Assert.Contains("leaves a server session", Assert.Single(_logs.Entries, entry => entry.EventId.Id == PoolerFound).Message, StringComparison.Ordinal);
        Assert.False(Says(PathMoved));
    }

    [Fact]
    public async Task RentAsync_ThePoolerDidNotLetItselfBeAsked_IsAskedAgainAfterAMinute()
    {
        var clock = new ManualTimeProvider();
        var surveys = 0;
        await using var bouncer = await BouncerAsync(PoolMode.Session, backends: 20);
        await using var pool = Pool(bouncer.Port, TimeSpan.FromHours(1), 4, clock, builder =>
        {
            if (builder.ConnectionStringBuilder is { Pooling: false, CancellationTimeout: -1 } && Interlocked.Increment(ref surveys) == 1)
            {
                throw new InvalidOperationException("Not now.");
            }
        });
        var leases = new List<Lease>(await pool.RentAsync(1, Cancellation));
        Assert.Contains("did not let itself be asked", Assert.Single(_logs.Entries, entry => entry.EventId.Id == PoolerFound).Message, StringComparison.Ordinal);

        leases.AddRange(await pool.RentAsync(1, Cancellation));
        Assert.Equal(1, surveys);

        clock.Advance(TimeSpan.FromMinutes(1));
        leases.AddRange(await pool.RentAsync(1, Cancellation));

        Assert.Equal(2, surveys);
        await leases.ReturnAllAsync();
        Assert.Contains("leaves a server session", _logs.Entries.Last(entry => entry.EventId.Id == PoolerFound).Message, StringComparison.Ordinal);
        Assert.False(Says(PathMoved));
    }

    private static async Task UseAsync(ConnectionPool pool, int connections, bool blocking)
    {
        var leases = new List<Lease>();
        for (var i = 0; i < connections; i++)
        {
            leases.Add(blocking ? await Task.Run(() => pool.Rent(), Cancellation) : await pool.RentAsync(Cancellation));
        }

        foreach (var lease in leases)
        {
            await lease.DoAsync("SELECT 1");
            await lease.DisposeAsync();
        }
    }

    /// <summary>Another client of the pooler that holds an advisory lock of its session, which a session reset by anybody would undo.</summary>
    private static async Task<NpgsqlConnection> StrangerAsync(PgBouncerServer bouncer)
    {
        var stranger = new NpgsqlConnection(bouncer.ConnectionString + ";Pooling=false;No Reset On Close=true");
        await stranger.OpenAsync(Cancellation);
        await stranger.DoAsync("SELECT pg_advisory_lock(42)");
        return stranger;
    }

    private bool Says(int eventId) => _logs.Entries.Any(entry => entry.EventId.Id == eventId);

    private ConnectionPool Pool(int port, TimeSpan lifetime, int size, TimeProvider? clock = null, Action<NpgsqlDataSourceBuilder>? configure = null)
        => new(
            new ConnectionPoolOptions
            {
                ConnectionString = $"Host=127.0.0.1;Port={port};Username=postgres;Database=postgres;Application Name=moves",
                MaxSize = size,
                MaxLifetime = lifetime,
                AcquireTimeout = TimeSpan.FromSeconds(30),
                ConfigureDataSource = configure,
            },
            _logs,
            clock);

    private Task<PgBouncerServer> BouncerAsync(PoolMode mode, int backends)
        => PgBouncerServer.StartAsync(
            _server.ConnectionString,
            options =>
            {
                options.Mode = mode;
                options.Settings["default_pool_size"] = $"{backends}";
            },
            Cancellation);
}
