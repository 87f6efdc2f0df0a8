using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Outages;

/// <summary>Rents that meet connections that were dropped without a word.</summary>
public sealed class SilentConnectionTests : SilentConnections
{
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
        await OutageKit.PassAsync(LongerThanQuiet, Cancellation);
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

        await OutageKit.PassAsync(LongerThanQuiet, Cancellation);
        await SwallowAsync(server, [.. sessions.Except(leased)]);

        var more = Enumerable.Range(0, 3).Select(_ => server.UseAsync(Cancellation)).ToArray();
        await OutageKit.PassAsync(TimeSpan.FromSeconds(5), Cancellation);
        await leases.ReturnAllAsync();

        await Task.WhenAll(more).WaitAsync(Bound, TimeProvider.System, Cancellation);
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
        await OutageKit.PassAsync(LongerThanQuiet, Cancellation);
        Proxy.Stall();

        var rents = Enumerable.Range(0, 8).Select(_ => server.UseAsync(Cancellation)).ToArray();
        await Eventually.True(() => server.Logged(OutageKit.ProbeFailed) == 1, "the server is found silent", Bound);
        Proxy.Resume();
        await leases.ReturnAllAsync();

        await Task.WhenAll(rents).WaitAsync(Bound, TimeProvider.System, Cancellation);
        await Outstanding.NoneAsync(server.Pool, Bound);
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
        await OutageKit.PassAsync(LongerThanQuiet, Cancellation);
        Proxy.Stall();

        using var impatience = new CancellationTokenSource(TimeSpan.FromSeconds(cancelled ? 1 : 60));
        await Assert.ThrowsAnyAsync<Exception>(
            () => server.Pool.RentAsync(new RentOptions { AcquireTimeout = TimeSpan.FromSeconds(cancelled ? 30 : 1) }, impatience.Token).AsTask());

        await Eventually.True(() => server.Logged(OutageKit.ProbeFailed) == 1, "the server is found silent", Bound);
        Assert.Equal(0, server.Snapshot.Idle);
        Proxy.Resume();
        await Outstanding.NoneAsync(server.Pool, Bound);
        await server.BurstAsync(4, Cancellation);
    }
}
