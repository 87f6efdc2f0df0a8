using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Outages;

/// <summary>Something between the pool and its server drops some connections without a word; the others live, and stay.</summary>
public sealed class SilentConnectionTests : IAsyncLifetime
{
    // When the sweep has sent the last reset, and since that again so long that what it has heard is out of date.
    private static readonly TimeSpan _longerThanQuiet = TimeSpan.FromSeconds(4);

    // That no patience of the pool's own comes near to, nor what a busy machine adds to one.
    private static readonly TimeSpan _bound = TimeSpan.FromSeconds(20);

    private TcpProxy _proxy = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _proxy = TcpProxy.Start(await Outside.SharedServerAsync());

    public ValueTask DisposeAsync() => _proxy.DisposeAsync();

    /// <summary>In a busy pool nothing is idle that could be asked; what has answered is known all the same.</summary>
    [Theory]
    [InlineData(4, 1, 8, true)]
    [InlineData(4, 1, 8, false)]
    [InlineData(8, 2, 16, true)]
    [InlineData(8, 2, 5, false)]
    public async Task Load_SomeConnectionsAreSilent_TheOthersStay(int size, int silent, int workers, bool watches)
    {
        await using var server = await CreateAsync(size, watches);
        await server.Pool.FillAsync(size, Cancellation);
        var sessions = await server.SessionsAsync();
        await OutageKit.PassAsync(_longerThanQuiet, Cancellation);
        await SwallowAsync(server, sessions[..silent]);

        using var enough = new CancellationTokenSource(TimeSpan.FromSeconds(7));
        await Task.WhenAll(Enumerable.Range(0, workers).Select(_ => WorkAsync(server, enough.Token)));

        await AssertLostAsync(server, sessions, silent);
    }

    /// <summary>Where there are several hosts the others at the same one are asked; those elsewhere prove nothing, and are not concerned.</summary>
    [Fact]
    public async Task Load_OnTwoHostsAndOneConnectionIsSilent_TheOthersStay()
    {
        const int Size = 8;
        await using var other = TcpProxy.Start(await Outside.SharedServerAsync());
        await using var server = await CreateAsync(
            Size,
            watches: false,
            text => (text.Host, text.LoadBalanceHosts) = ($"127.0.0.1:{_proxy.Port},127.0.0.1:{other.Port}", true));
        await server.Pool.FillAsync(Size, Cancellation);
        await Eventually.True(
            async () =>
            {
                await server.UseAsync(Cancellation);
                return (_proxy.OpenConnections, other.OpenConnections) == (Size / 2, Size / 2);
            },
            "each has its share",
            _bound);
        await OutageKit.PassAsync(_longerThanQuiet, Cancellation);

        // Without those that have only knocked.
        var sessions = await server.SessionsAsync();
        var closed = server.Snapshot.TotalClosed;
        foreach (var session in sessions)
        {
            if (_proxy.Swallow(await PortOfAsync(server, session)))
            {
                break;
            }
        }

        using var enough = new CancellationTokenSource(TimeSpan.FromSeconds(7));
        await Task.WhenAll(Enumerable.Range(0, Size).Select(_ => WorkAsync(server, enough.Token)));

        // One more may have moved to where the lost one was.
        await Outstanding.NoneAsync(server.Pool, _bound);
        Assert.Equal(0, server.Logged(OutageKit.ProbeFailed));
        Assert.InRange(server.Snapshot.TotalClosed - closed, 1, 2);
        Assert.InRange(sessions.Intersect(await server.SessionsAsync()).Count(), Size - 2, Size);
    }

    /// <summary>Two that are asked at the same moment, while others are idle.</summary>
    [Fact]
    public async Task Rents_BothConnectionsAreSilent_TheIdleOnesStay()
    {
        await using var server = await CreateAsync(8, watches: false);
        var leases = await server.Pool.RentAsync(8, Cancellation);
        List<int> sessions = [];
        foreach (var lease in leases)
        {
            sessions.Add(await lease.AskAsync<int>("SELECT pg_backend_pid()"));
        }

        await leases.ReturnAllAsync();
        await OutageKit.PassAsync(_longerThanQuiet, Cancellation);
        await SwallowAsync(server, [.. sessions.Take(2)]);

        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => server.UseAsync(Cancellation)));

        await AssertLostAsync(server, [.. sessions], 2);
    }

    /// <summary>Nothing was heard of the others, and nothing is idle: they have work to do.</summary>
    [Fact]
    public async Task Rent_TheOnlyIdleConnectionIsSilent_WhatIsLeasedStays()
    {
        await using var server = await CreateAsync(4, watches: false);
        await server.Pool.FillAsync(4, Cancellation);
        var sessions = await server.SessionsAsync();
        var leases = await server.Pool.RentAsync(3, Cancellation);
        List<int> leased = [];
        foreach (var lease in leases)
        {
            leased.Add(await lease.AskAsync<int>("SELECT pg_backend_pid()"));
        }

        await OutageKit.PassAsync(_longerThanQuiet, Cancellation);
        await SwallowAsync(server, [.. sessions.Except(leased)]);

        var more = Enumerable.Range(0, 3).Select(_ => server.UseAsync(Cancellation)).ToArray();
        await OutageKit.PassAsync(TimeSpan.FromSeconds(5), Cancellation);
        await leases.ReturnAllAsync();

        await Task.WhenAll(more).WaitAsync(_bound, TimeProvider.System, Cancellation);
        await AssertLostAsync(server, sessions, 1);
    }

    /// <summary>The same when it is the server that is silent.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    public async Task Rents_TheServerIsSilent_FindItOutWhateverIsLeased(int leased)
    {
        await using var server = await CreateAsync(4, watches: false);
        await server.Pool.FillAsync(4, Cancellation);
        var leases = leased == 0 ? [] : await server.Pool.RentAsync(leased, Cancellation);
        await OutageKit.PassAsync(_longerThanQuiet, Cancellation);
        _proxy.Stall();

        var rents = Enumerable.Range(0, 8).Select(_ => server.UseAsync(Cancellation)).ToArray();
        await Eventually.True(() => server.Logged(OutageKit.ProbeFailed) == 1, "the server is found silent", _bound);
        _proxy.Resume();
        await leases.ReturnAllAsync();

        await Task.WhenAll(rents).WaitAsync(_bound, TimeProvider.System, Cancellation);
        await Outstanding.NoneAsync(server.Pool, _bound);
        await server.BurstAsync(4, Cancellation);
        Assert.Equal(1, server.Logged(OutageKit.ProbeFailed));
    }

    /// <summary>Nobody has two seconds to wait for an answer, or everybody leaves earlier.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Rents_TheServerIsSilentAndTheirBudgetsAreShort_FindItOutAllTheSame(bool cancelled)
    {
        await using var server = await CreateAsync(4, watches: false);
        await server.Pool.FillAsync(4, Cancellation);
        await OutageKit.PassAsync(_longerThanQuiet, Cancellation);
        _proxy.Stall();

        using var impatience = new CancellationTokenSource(TimeSpan.FromSeconds(cancelled ? 1 : 60));
        await Assert.ThrowsAnyAsync<Exception>(
            () => server.Pool.RentAsync(new RentOptions { AcquireTimeout = TimeSpan.FromSeconds(cancelled ? 30 : 1) }, impatience.Token).AsTask());

        await Eventually.True(() => server.Logged(OutageKit.ProbeFailed) == 1, "the server is found silent", _bound);
        Assert.Equal(0, server.Snapshot.Idle);
        _proxy.Resume();
        await Outstanding.NoneAsync(server.Pool, _bound);
        await server.BurstAsync(4, Cancellation);
    }

    private static async Task WorkAsync(PoolOnServer server, CancellationToken enough)
    {
        while (!enough.IsCancellationRequested)
        {
            await using var lease = await server.Pool.RentAsync(Cancellation);
            await lease.DoAsync("SELECT pg_sleep(0.01)");
        }
    }

    private static async Task AssertLostAsync(PoolOnServer server, int[] sessions, int silent)
    {
        await Eventually.True(() => server.Snapshot.TotalClosed >= silent, "what was silent is closed", _bound);
        await Outstanding.NoneAsync(server.Pool, _bound);
        var left = sessions.Intersect(await server.SessionsAsync()).Count();
        Assert.Equal((0, (long)silent), (server.Logged(OutageKit.ProbeFailed), server.Snapshot.TotalClosed));
        Assert.InRange(left, sessions.Length - silent, sessions.Length);
    }

    private async Task SwallowAsync(PoolOnServer server, int[] sessions)
    {
        foreach (var session in sessions)
        {
            Assert.True(_proxy.Swallow(await PortOfAsync(server, session)));
        }
    }

    private static Task<int> PortOfAsync(PoolOnServer server, int session)
        => server.AskAsync<int>($"SELECT client_port FROM pg_stat_activity WHERE pid = {session}");

    private Task<PoolOnServer> CreateAsync(int size, bool watches, Action<NpgsqlConnectionStringBuilder>? text = null)
        => PoolOnServer.CreateAsync(
            options =>
            {
                (options.MaxSize, options.WatchServer) = (size, watches);
                options.AcquireTimeout = options.Breaker.TripAfter = TimeSpan.FromSeconds(30);
            },
            text,
            proxy: _proxy);
}
