using Npgsql;
using SafePool.Driver;
using SafePool.Driver.Hosts;
using SafePool.Lifecycle;
using SafePool.Logging;
using SafePool.Options;

namespace SafePool.Maintenance;

/// <summary>Moves connections, one at a time and none that is leased, to hosts that have fewer than their share, or are better than those that serve now.</summary>
/// <remarks>
/// <para>
/// Wanted are: where the load is balanced, as many at each host that fits, give or take one, and one at least; otherwise all at the best host. A host is asked before anything moves there, with a connection
/// beside the pool that is closed at once, unless it has let one in within the last seconds; one that fails is left alone for <see cref="PoolSettings.HostRecheck"/>. So nothing moves to and fro.
/// </para>
/// <para>
/// One step a tick at most, while the pool is used and nothing is being opened; an unused pool looks every 30 seconds. What is idle moves; in a pool that is fully used, where nothing ever is, what comes back next. A pool of one host has
/// nothing of this.
/// </para>
/// </remarks>
internal sealed class HostBalance(PoolParts parts, RestingPlaces resting, ConnectionOpener opener, ConnectionReturner returner)
{
    private static readonly TimeSpan _whenUnused = TimeSpan.FromSeconds(30);

    // When nothing comes back: leases that are held for long must not make all other returns take the slow way.
    private static readonly TimeSpan _whenHeld = TimeSpan.FromSeconds(5);

    private readonly IdleRetirement _retirement = new(parts, returner);
    private readonly ServerHosts? _hosts = parts.Source.Hosts is { IsSeveral: true } hosts ? hosts : null;
    private int _isRunning;
    private long _rents;
    private long _next = long.MinValue;
    private long _resumesAt = long.MinValue;
    private Moved? _moved;

    /// <summary>Begins a step if one is due and none is under way, and does not wait for it.</summary>
    public void Begin()
    {
        if (_hosts is null || !parts.Breaker.IsWell || parts.Room.IsFull || Volatile.Read(ref _isRunning) == 1 || !IsDue())
        {
            return;
        }

        if (Interlocked.Exchange(ref _isRunning, 1) == 0)
        {
            _ = RunAsync(_hosts);
        }
    }

    private bool IsDue()
    {
        // Where what is being opened leads is not known yet.
        if (parts.Clock.Exact < _resumesAt || parts.Gate.Read().Opening > 0)
        {
            return false;
        }

        var rents = parts.Ledger.TotalRents;
        if (rents == _rents && parts.Clock.Exact < _next)
        {
            return false;
        }

        (_rents, _next) = (rents, parts.Clock.After(parts.Clock.Exact, _whenUnused));
        return true;
    }

    private async Task RunAsync(ServerHosts hosts)
    {
        try
        {
            DoubtIfElsewhere();
            var loads = hosts.All.Select(host => new HostLoad(host, parts.Physicals.CountAt(host), host.Standing.Role.FitFor(parts.Settings.Target), Promise(host))).ToArray();
            if (FindMove(loads) is { } move
                && await IsReadyAsync(move.To.Host).ConfigureAwait(false)

                // With what it is, instead of what it might have been.
                && IsBetter(move.From, move.To with { Promise = move.To.Host.Standing.Role.FitFor(parts.Settings.Target) }))
            {
                await MoveAsync(move).ConfigureAwait(false);
            }
        }
        catch (Exception error)
        {
            Log.MaintenanceFailed(parts.Logger, parts.Settings.Name, error);
        }
        finally
        {
            Volatile.Write(ref _isRunning, 0);
        }
    }

    /// <summary>What it may be, if it was asked long ago or never.</summary>
    private HostFit Promise(ServerDataSource host)
    {
        var fit = host.Standing.Role.FitFor(parts.Settings.Target);
        return fit != HostFit.Preferred && host.Standing.RecentRole == HostRole.Unknown ? HostFit.Preferred : fit;
    }

    private (HostLoad From, HostLoad To)? FindMove(HostLoad[] loads)
    {
        (HostLoad From, HostLoad To)? best = null;
        foreach (var from in loads.Where(load => load.Count > 0))
        {
            foreach (var to in loads.Where(load => load.Host != from.Host && !load.Host.Standing.IsDoubted && load.Promise != HostFit.Wrong))
            {
                if (IsBetter(from, to) && (best is not { } found || from.Count - to.Count > found.From.Count - found.To.Count))
                {
                    best = (from, to);
                }
            }
        }

        return best;
    }

    private bool IsBetter(HostLoad from, HostLoad to)
        => to.Promise != from.Fit ? to.Promise < from.Fit
            : parts.Settings.LoadBalancesHosts ? from.Count >= to.Count + 2 || to.Count == 0
            : to.Host.Index < from.Host.Index;

    private async Task<bool> IsReadyAsync(ServerDataSource to)
    {
        var standing = to.Standing;
        if (standing.HasAnsweredLately)
        {
            return true;
        }

        var wasGone = standing.IsUncertain;
        using var patience = new CancellationTokenSource(parts.Settings.TimeoutForEachHost, parts.Time);
        try
        {
            var role = await to.Knock.AskRoleAsync(patience.Token).ConfigureAwait(false);
            if (role.FitFor(parts.Settings.Target) == HostFit.Wrong)
            {
                standing.NoteBad(role);
                return false;
            }

            standing.NoteGood(role);
            if (wasGone)
            {
                Log.HostIsBack(parts.Logger, parts.Settings.Name, to.Name.ToString());
            }

            return true;
        }
        catch (Exception error)
        {
            standing.NoteBad();
            Log.OpenFailed(parts.Logger, parts.Settings.Name, error);
            return false;
        }
    }

    private async Task MoveAsync((HostLoad From, HostLoad To) move)
    {
        var counts = parts.Gate.Read();
        var adds = move.To.Count == 0 && move.From.Count == 1 && move.To.Promise == move.From.Fit && parts.Settings.LoadBalancesHosts;
        var moved = new Moved(move.To.Host, parts.Clock.Exact, parts.Physicals.TotalOpened);
        if (adds ? counts.Room == 0 : !await TryRetireAtAsync(move).ConfigureAwait(false))
        {
            return;
        }

        // Those who wait may have begun it already.
        if (opener.Fill(parts.Gate.Read().Connections + 1) is { } open)
        {
            await open.ConfigureAwait(false);
        }

        _moved = moved;
    }

    private async Task<bool> TryRetireAtAsync((HostLoad From, HostLoad To) move)
    {
        if (await resting.TakeAsync(move.From.Host).ConfigureAwait(false) is not { } slot)
        {
            _resumesAt = parts.Gate.Idle == 0 ? parts.Clock.After(parts.Clock.Exact, _whenHeld) : long.MinValue;
            return false;
        }

        if (move.To.Host.Standing.IsDoubted)
        {
            // It has failed meanwhile.
            resting.RestAndHandOn(slot);
            return false;
        }

        await _retirement.RetireAsync(slot).ConfigureAwait(false);
        return true;
    }

    /// <summary>What was opened since the last move went elsewhere, for whatever reason: it would do so again.</summary>
    private void DoubtIfElsewhere()
    {
        if (_moved is { } last && parts.Physicals.TotalOpened > last.Opened && !parts.Physicals.At(last.To).Any(physical => physical.OpenedAt >= last.Since))
        {
            last.To.Standing.NoteBad();
        }

        _moved = null;
    }

    /// <param name="To">Where the last move was to lead.</param>
    /// <param name="Since">When it began.</param>
    /// <param name="Opened">How many connections the pool had opened by then.</param>
    private sealed record Moved(ServerDataSource To, long Since, long Opened);

    /// <param name="Host">Where.</param>
    /// <param name="Count">How many connections of the pool lead there.</param>
    /// <param name="Fit">How well its sessions serve.</param>
    /// <param name="Promise">How well one that is opened now may serve.</param>
    private readonly record struct HostLoad(ServerDataSource Host, int Count, HostFit Fit, HostFit Promise);
}
