using Npgsql;
using SafePool.Driver.Control;
using SafePool.Driver.Poolers;
using SafePool.Options;
using SafePool.Reports;

namespace SafePool.Driver.Hosts;

/// <summary>Opens at the first host that lets a session of a fitting role in.</summary>
/// <remarks>
/// The order: the better role first; then, where the load is balanced, the host with the fewest connections, and otherwise the order of the string. What failed or had the wrong role
/// lately comes last, but it does come: no host is ever left out. What failed at one host is said only when it failed at all.
/// </remarks>
internal sealed class HostSearch(PoolSettings settings, ServerHosts hosts, PhysicalConnections physicals)
{
    /// <summary>Opens a connection at a host whose role is welcome, or throws <see cref="WrongRoleException"/>, with nothing left open, or what it met.</summary>
    public delegate ValueTask<OpenedConnection> OpenAt(ServerDataSource host, Func<HostRole, bool> isWelcome, OpenAttempt attempt);

    public async ValueTask<OpenedConnection> OpenAsync(OpenAt openAt, OpenAttempt attempt)
    {
        var (blocking, cancellationToken) = (attempt.IsBlocking, attempt.Token);
        var left = Order(claims: true);
        var met = new HashSet<ServerDataSource>();
        var errors = new List<(ServerDataSource Host, Exception Error)>();
        for (var isFirst = true; left.Count > 0; isFirst = false)
        {
            var host = left[0];
            left.RemoveAt(0);
            try
            {
                if (!isFirst && physicals.CountAt(host) > 0)
                {
                    // The first was asked before, if it had something to lose.
                    await host.Knock.AskAsync(isDoubtful: false, blocking, cancellationToken).ConfigureAwait(false);
                }

                return await openAt(host, role => IsWelcome(role, left.Except(met)), attempt).ConfigureAwait(false);
            }
            catch (WrongRoleException other) when (other.Role.FitFor(hosts.Target) == HostFit.Acceptable)
            {
                host.Standing.NoteRole(other.Role);
                met.Add(host);
                left.Insert(left.FindLastIndex(better => !better.Standing.IsDoubted) + 1, host);
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                // It took what was left of the time.
                host.Standing.NoteBad();
                throw;
            }
            catch (Exception error) when (!cancellationToken.IsCancellationRequested)
            {
                host.Standing.NoteBad((error as WrongRoleException)?.Role);
                errors.Add((host, error));
            }
        }

        throw Summary(errors);
    }

    /// <summary>Finds the host for the next open, at no risk for the connections that lie there.</summary>
    public async ValueTask KnockAsync(bool isDoubtful, bool blocking, CancellationToken cancellationToken)
    {
        var errors = new List<(ServerDataSource Host, Exception Error)>();
        foreach (var host in Order(claims: false))
        {
            try
            {
                if (physicals.CountAt(host) > 0)
                {
                    await host.Knock.AskAsync(isDoubtful, blocking, cancellationToken).ConfigureAwait(false);
                }

                return;
            }
            catch (PostgresException refused) when (PoolerErrors.KindOf(refused) == PoolerErrorKind.StartupParameterRefused)
            {
                // The open finds out whether it gets in without them.
                return;
            }
            catch (Exception error) when (!cancellationToken.IsCancellationRequested)
            {
                host.Standing.NoteBad();
                errors.Add((host, error));
            }
        }

        throw Summary(errors);
    }

    /// <param name="claims">The caller will try them: the first one finds out whether a host is still what it was.</param>
    private List<ServerDataSource> Order(bool claims)
    {
        var turn = hosts.IsBalanced ? hosts.NextTurn() : 0;
        return
        [
            .. hosts.All
                .Select(host => (Host: host, Load: physicals.CountAt(host) + host.Opening))
                .OrderBy(candidate => claims ? candidate.Host.Standing.IsDoubtedByMe() : candidate.Host.Standing.IsDoubted)
                .ThenBy(candidate => Rank(candidate.Host))

                // One that was not asked, and has something to lose, only after those that were.
                .ThenBy(candidate => claims && candidate.Load > 0 && !candidate.Host.Knock.IsProven)
                .ThenBy(candidate => hosts.IsBalanced ? candidate.Load : 0)
                .ThenBy(candidate => (candidate.Host.Index - turn + hosts.All.Count) % hosts.All.Count)
                .Select(candidate => candidate.Host),
        ];
    }

    /// <summary>One whose role is not known may be as good as the best, but where no load is balanced there is no need to find out.</summary>
    private int Rank(ServerDataSource host)
        => hosts.Target == TargetSessionAttributes.Any ? 0
            : (host.Standing.RecentRole, host.Standing.Role.FitFor(hosts.Target)) switch
            {
                (_, HostFit.Preferred) => 0,
                (HostRole.Unknown, _) => hosts.IsBalanced ? 0 : 1,
                _ => 2,
            };

    private bool IsWelcome(HostRole role, IEnumerable<ServerDataSource> untried) => role.FitFor(hosts.Target) switch
    {
        HostFit.Preferred => true,
        HostFit.Acceptable => !untried.Any(other => !other.Standing.IsDoubted && Rank(other) < 2),
        _ => false,
    };

    private NpgsqlException Summary(List<(ServerDataSource Host, Exception Error)> errors)
    {
        var refusals = errors.Select(error => error.Error).OfType<PostgresException>().ToArray();
        var others = errors.Count(error => error.Error is not WrongRoleException) - refusals.Length;
        if (others == 0 && refusals.Length > 0
            && refusals.All(refusal => refusal.SqlState == refusals[0].SqlState)
            && (!SqlStates.IsCuredByWaiting(refusals[0]) || SqlStates.IsServerFull(refusals[0])))
        {
            // They agree, and what they say is dealt with by what it is.
            return PoolerErrors.Explain(refusals[0]) ?? refusals[0];
        }

        var wish = hosts.Target == TargetSessionAttributes.Any ? "" : $" of 'Target Session Attributes={hosts.Target.Words()}'";
        var said = errors.Select(error => error.Error is WrongRoleException wrong ? wrong.Message : $"{error.Host.Name}: {error.Error.Message}");
        return new NpgsqlException(
            $"No host lets a session{wish} in within ConnectTimeout ({Sentences.Duration(settings.ConnectTimeout)}): {string.Join("; ", said)}.",
            new AggregateException(errors.Select(error => error.Error)));
    }
}
