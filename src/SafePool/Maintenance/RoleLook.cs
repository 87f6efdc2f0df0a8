using Npgsql;
using SafePool.Driver;
using SafePool.Driver.Control;
using SafePool.Driver.Hosts;
using SafePool.Lifecycle;
using SafePool.Logging;
using SafePool.Options;

namespace SafePool.Maintenance;

/// <summary>Asks a session of each host, between two leases, whether its server is still what it was when the session was opened; if not, that host's sessions are retired, once.</summary>
/// <remarks>
/// <para>Where it matters which host it is, every few seconds while the pool is used, never while it is not; and at once when <see cref="HostRoles.Suspect"/> was called. One connection at a time is taken: an idle one, as a rent would take it, or the next that comes back while the pool is fully used.</para>
/// <para>
/// Each session is judged by what it heard itself, not by others: behind one name there may be several servers. Behind a pooler the next statement may go to another server, so nothing is judged there.
/// </para>
/// <para>Invariant: every place that it takes ends in exactly one RestAndHandOn, HandOn or return.</para>
/// </remarks>
internal sealed class RoleLook(PoolParts parts, RestingPlaces resting, ConnectionOpener opener, ConnectionReturner returner)
{
    private static readonly TimeSpan _period = TimeSpan.FromSeconds(5);

    // What a session keeps from a lease may make it read-only; only a reset that is sent undoes that.
    private readonly bool _keepsWhatLeasesSet = parts.Settings.Reset == SessionReset.Rollback;
    private int _isRunning;
    private long _next = parts.Clock.After(parts.Clock.Exact, _period);
    private long _rents;
    private bool _hasCounted;

    /// <summary>Begins a look if one is due and none is under way, and does not wait for it.</summary>
    public void Begin()
    {
        if (parts.Source.Hosts is not { } hosts || Volatile.Read(ref _isRunning) == 1)
        {
            return;
        }

        var isSuspected = parts.Roles.TryTakeSuspicion();
        if ((isSuspected || (hosts.Chooses && IsDue())) && Interlocked.Exchange(ref _isRunning, 1) == 0)
        {
            _ = RunAsync(hosts, isSuspected);
        }
    }

    /// <summary>Only in a tick that has seen rents: what falls silent stays silent.</summary>
    private bool IsDue()
    {
        if (parts.Clock.Exact < _next)
        {
            _hasCounted = false;
            return false;
        }

        var rents = parts.Ledger.TotalRents;
        var isUsed = _hasCounted && rents != _rents;
        (_rents, _hasCounted) = (rents, true);
        if (isUsed)
        {
            _next = parts.Clock.After(parts.Clock.Exact, _period);
        }

        return isUsed;
    }

    private async Task RunAsync(ServerHosts hosts, bool isSuspected)
    {
        try
        {
            foreach (var host in hosts.All)
            {
                await LookAtAsync(host).ConfigureAwait(false);
                if (isSuspected && hosts.Target is not (TargetSessionAttributes.Standby or TargetSessionAttributes.PreferStandby or TargetSessionAttributes.ReadOnly))
                {
                    await LookBehindTheNameAsync(host).ConfigureAwait(false);
                }
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

    private async Task LookAtAsync(ServerDataSource host)
    {
        if (parts.Physicals.CountAt(host) == 0 || await resting.TakeAsync(host).ConfigureAwait(false) is not { } slot)
        {
            return;
        }

        var connection = slot.Connection!;
        var physical = parts.Source.Identify(connection);
        if (physical is not { IsDirect: true, IsUntidy: false } || parts.Physicals.IsExpired(physical))
        {
            resting.RestAndHandOn(slot);
            return;
        }

        var role = HostRole.Unknown;
        parts.Physicals.NoteAsked(physical);
        var look = AskAsync();
        if (!await ConnectionCare.IsOverAsync(look, PoolSettings.ReturnPatience, parts.Clock, CancellationToken.None).ConfigureAwait(false))
        {
            returner.GiveUpOn(slot, look);
        }
        else if (!await look.ConfigureAwait(false))
        {
            returner.Retire(slot);
        }
        else if (resting.RestAndHandOn(slot))
        {
            Judge(host, physical, role);
        }

        async Task<bool> AskAsync()
        {
            try
            {
                role = await RoleQuestion.AskAsync(connection, PoolSettings.ReturnPatience, blocking: false, CancellationToken.None).ConfigureAwait(false);
                parts.Physicals.NoteSeen(physical);
                return true;
            }
            catch (Exception)
            {
                // The return that follows says what is wrong with it.
                return false;
            }
        }
    }

    private void Judge(ServerDataSource host, PhysicalConnection physical, HostRole now)
    {
        var before = physical.Role;
        var hasOnlyTurnedReadOnly = before != HostRole.Standby && now != HostRole.Standby;
        if (now == HostRole.Unknown || before == HostRole.Unknown || now == before || (hasOnlyTurnedReadOnly && _keepsWhatLeasesSet))
        {
            return;
        }

        if (now.FitFor(parts.Settings.Target) == HostFit.Wrong)
        {
            host.Standing.NoteBad(now);
        }
        else
        {
            host.Standing.NoteRole(now);
        }

        Log.RoleChanged(parts.Logger, parts.Settings.Name, host.Name.ToString(), before.Words(), now.Words());
        opener.RetireAt(host);
    }

    /// <summary>A session may be right about its server, and the name lead to another one by now: then those that cannot write are no use any more.</summary>
    private async Task LookBehindTheNameAsync(ServerDataSource host)
    {
        var readOnly = parts.Physicals.At(host).Where(physical => physical is { IsDirect: true, Role: HostRole.Standby or HostRole.ReadOnly }).ToArray();
        if (readOnly.Length == 0)
        {
            return;
        }

        using var patience = new CancellationTokenSource(PoolSettings.ReturnPatience, parts.Time);
        HostRole now;
        try
        {
            now = await host.Knock.AskRoleAsync(patience.Token).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            // Then opens fail as well, and say so.
            Log.OpenFailed(parts.Logger, parts.Settings.Name, error);
            return;
        }

        if (now == HostRole.ReadWrite)
        {
            Log.RoleChanged(parts.Logger, parts.Settings.Name, host.Name.ToString(), readOnly[0].Role.Words(), now.Words());
            host.Standing.NoteGood(now);
            Array.ForEach(readOnly, parts.Physicals.Expire);
        }
    }
}
