using Microsoft.Extensions.Logging;
using SafePool.Diagnostics;
using SafePool.Leases;

namespace SafePool.Logging;

/// <summary>Every line that the pool logs. Warning: a person should act. Information: a rare change. Debug: per connection.</summary>
internal static partial class Log
{
    [LoggerMessage(100, LogLevel.Warning, "{Report}")]
    public static partial void Leak(ILogger logger, string report);

    [LoggerMessage(101, LogLevel.Information, "Pool '{PoolName}': a full collection was started to find dropped leases ({Leased} of {MaxSize} leased, {Waiting} waiting).")]
    public static partial void CollectionInduced(ILogger logger, string poolName, int leased, int maxSize, int waiting);

    [LoggerMessage(102, LogLevel.Information, "{Report}")]
    public static partial void ReturnedAfterAll(ILogger logger, string report);

    [LoggerMessage(103, LogLevel.Information, "Pool '{PoolName}': {Lease} is held for long; {Doing}. A warning follows if that goes on.")]
    public static partial void Busy(ILogger logger, string poolName, string lease, string doing);

    [LoggerMessage(104, LogLevel.Warning, "Pool '{PoolName}': a listener of LeakReported threw; the others were called all the same.")]
    public static partial void ListenerFailed(ILogger logger, string poolName, Exception error);

    [LoggerMessage(105, LogLevel.Warning, "Pool '{PoolName}': the rent at {Inner} is nested: its flow holds a lease of this pool, rented at {Outer}. Under load all holders can end up waiting for each other. Pass the outer lease down, or return it first.")]
    public static partial void Nested(ILogger logger, string poolName, string inner, string outer);

    [LoggerMessage(106, LogLevel.Warning, "{Message}{Holders}")]
    public static partial void Exhausted(ILogger logger, string message, string holders);

    [LoggerMessage(107, LogLevel.Information, "Pool '{PoolName}': what led to it, as the flight recorder has it:{NewLine}{Events}")]
    public static partial void Flight(ILogger logger, string poolName, string newLine, string events);

    [LoggerMessage(108, LogLevel.Information, "Pool '{PoolName}': no longer exhausted; {Failed} rents failed in {Seconds:F1} s.")]
    public static partial void ExhaustionEnded(ILogger logger, string poolName, long failed, double seconds);

    [LoggerMessage(110, LogLevel.Warning, "Pool '{PoolName}': a transaction left open by the lease rented at {Site} was rolled back. Commit it, or dispose it before the lease.")]
    public static partial void TransactionRolledBack(ILogger logger, string poolName, string site);

    [LoggerMessage(111, LogLevel.Warning, "Pool '{PoolName}': the lease rented at {Site} came back while its connection was busy ({State}); the command was cancelled.")]
    public static partial void ReturnedBusy(ILogger logger, string poolName, string site, string state);

    [LoggerMessage(112, LogLevel.Warning, "Pool '{PoolName}': the connection of the lease rented at {Site} could not be closed within {PatienceSeconds:F1} s; its place is quarantined until the connection is gone, for {BoundSeconds:F0} s at most.")]
    public static partial void Quarantined(ILogger logger, string poolName, string site, double patienceSeconds, double boundSeconds);

    [LoggerMessage(113, LogLevel.Information, "Pool '{PoolName}': a quarantined connection is gone; its place is free again.")]
    public static partial void QuarantineEnded(ILogger logger, string poolName);

    [LoggerMessage(114, LogLevel.Warning, "Pool '{PoolName}': the connection of the lease rented at {Site} could not be returned and was retired.")]
    public static partial void ReturnFailed(ILogger logger, string poolName, string site, Exception error);

    [LoggerMessage(115, LogLevel.Warning, "Pool '{PoolName}': the hook {Hook} threw; the connection was retired.")]
    public static partial void HookFailed(ILogger logger, string poolName, string hook, Exception error);

    [LoggerMessage(119, LogLevel.Debug, "Pool '{PoolName}': an open that had been given up has ended after all; what it brought, if anything, is closed.")]
    public static partial void OpenEndedLate(ILogger logger, string poolName, Exception? error);

    [LoggerMessage(120, LogLevel.Warning, "Pool '{PoolName}': {Missing}: something between drops start-up options (PgBouncer does). {Consequence} Set it on the server: {Cure}.")]
    public static partial void TimeoutNotInForce(ILogger logger, string poolName, string missing, string consequence, string cure);

    [LoggerMessage(121, LogLevel.Debug, "Pool '{PoolName}': an open failed.")]
    public static partial void OpenFailed(ILogger logger, string poolName, Exception error);

    [LoggerMessage(122, LogLevel.Warning, "Pool '{PoolName}': MinSize ({MinSize}) cannot be kept up: an open failed; next attempt in {PauseSeconds:F1} s.")]
    public static partial void FillFailed(ILogger logger, string poolName, int minSize, double pauseSeconds, Exception error);

    [LoggerMessage(123, LogLevel.Debug, "Pool '{PoolName}': {Count} idle connections were retired ({Reason}).")]
    public static partial void Retired(ILogger logger, string poolName, int count, string reason);

    [LoggerMessage(124, LogLevel.Information, "Pool '{PoolName}': cleared; every connection opened before now is retired.")]
    public static partial void Cleared(ILogger logger, string poolName);

    [LoggerMessage(125, LogLevel.Warning, "Pool '{PoolName}': a leased connection broke, so all older ones are retired. {Cause}")]
    public static partial void Broken(ILogger logger, string poolName, string cause);

    [LoggerMessage(126, LogLevel.Debug, "Pool '{PoolName}': the control connection could not {Task}.")]
    public static partial void ControlFailed(ILogger logger, string poolName, string task, Exception error);

    [LoggerMessage(127, LogLevel.Information, "Pool '{PoolName}': no connection can be opened; rents wait within their budgets, the next attempt is in {PauseSeconds:F1} s.")]
    public static partial void OpensFail(ILogger logger, string poolName, double pauseSeconds, Exception error);

    [LoggerMessage(128, LogLevel.Warning, "Pool '{PoolName}': no connection could be opened for {Seconds:F1} s, so the circuit is open: rents that find nothing idle fail at once until a probe succeeds. {Waiting} waiting rents failed.")]
    public static partial void CircuitOpened(ILogger logger, string poolName, double seconds, int waiting, Exception? error);

    [LoggerMessage(129, LogLevel.Information, "Pool '{PoolName}': connections can be opened again, after {Seconds:F1} s; the circuit {Was}.")]
    public static partial void CircuitClosed(ILogger logger, string poolName, double seconds, string was);

    [LoggerMessage(140, LogLevel.Warning, "Pool '{PoolName}': {Missing}: {Reason}. {Consequence} Set it on the server: {Cure}.")]
    public static partial void TimeoutsNeedTheServer(ILogger logger, string poolName, string missing, string reason, string consequence, string cure);

    [LoggerMessage(141, LogLevel.Information, "Pool '{PoolName}': a pooler is in between; {Finding}")]
    public static partial void PoolerFound(ILogger logger, string poolName, string finding);

    [LoggerMessage(142, LogLevel.Warning, "Pool '{PoolName}': Reset is {Reset}, but a pooler gives out server sessions by transaction, so nothing is reset: what a lease sets outside of a transaction stays with whichever session it was, for anybody. Use SET LOCAL, or session pooling.")]
    public static partial void ResetIsOff(ILogger logger, string poolName, SessionReset reset);

    [LoggerMessage(143, LogLevel.Warning, "Pool '{PoolName}': what looked like a pooler by session gives out server sessions by transaction. From now on timeouts are set in lease.BeginTransaction only, nothing is reset, and every connection is replaced. Set them on the server: {Cure}.")]
    public static partial void PoolerWasMistaken(ILogger logger, string poolName, string cure);

    [LoggerMessage(144, LogLevel.Warning, "Pool '{PoolName}': the server cannot be asked for {What} (\"{Refusal}\"); {Lost}. Rents go on all the same.")]
    public static partial void IdentityNotAsked(ILogger logger, string poolName, string what, string refusal, string lost);

    [LoggerMessage(145, LogLevel.Information, "Pool '{PoolName}': wanted to {Task} session {ProcessId} on {Server}: {Answer}.")]
    public static partial void Signalled(ILogger logger, string poolName, string task, int processId, string server, string answer);

    [LoggerMessage(146, LogLevel.Warning, "Pool '{PoolName}': the connection of the lease rented at {Site} could not be closed for {Seconds:F0} s ({Answer}), so it is written off and its place is free. Its session {ProcessId} on {Server} may live until the server ends it, and so long the pool may have that one socket more than MaxSize.")]
    public static partial void WrittenOff(ILogger logger, string poolName, string site, double seconds, string answer, int processId, string server);

    [LoggerMessage(130, LogLevel.Error, "Pool '{PoolName}': a maintenance step failed; the next tick tries again.")]
    public static partial void MaintenanceFailed(ILogger logger, string poolName, Exception error);

    [LoggerMessage(131, LogLevel.Warning, "Pool '{PoolName}': the connection that watches the server broke, and with it Npgsql has ended every idle one; the leased ones are retired when they come back. {Cause}")]
    public static partial void ServerLost(ILogger logger, string poolName, string cause, Exception error);

    [LoggerMessage(132, LogLevel.Warning, "Pool '{PoolName}': an idle connection did not answer, so all older ones are retired.")]
    public static partial void ProbeFailed(ILogger logger, string poolName);

    [LoggerMessage(133, LogLevel.Warning, "Pool '{PoolName}': the server has no room for more than {Limit} of its {MaxSize} connections ({Answer}), and it serves from those. {Census}")]
    public static partial void ServerFull(ILogger logger, string poolName, int limit, int maxSize, string answer, string census);

    [LoggerMessage(134, LogLevel.Information, "Pool '{PoolName}': the server has room for {MaxSize} connections again.")]
    public static partial void ServerHasRoom(ILogger logger, string poolName, int maxSize);

    [LoggerMessage(135, LogLevel.Warning, "Pool '{PoolName}': {Instances} instances with {MaxSize} connections each want {Wanted}, but {Limits} Lower MaxSize, or raise the limit.")]
    public static partial void TooManyExpected(ILogger logger, string poolName, int instances, int maxSize, long wanted, string limits);

    [LoggerMessage(136, LogLevel.Information, "Pool '{PoolName}': {Options} changed; in force from now on.")]
    public static partial void Reconfigured(ILogger logger, string poolName, string options);

    [LoggerMessage(137, LogLevel.Warning, "Pool '{PoolName}': {Options} cannot change while the pool lives, and keep their values. Build a new pool, or restart.")]
    public static partial void ReconfigureRefused(ILogger logger, string poolName, string options);

    [LoggerMessage(138, LogLevel.Information, "Pool '{PoolName}': paused; rents wait for Resume() in their own budgets, and connections are closed as they come back.")]
    public static partial void Paused(ILogger logger, string poolName);

    [LoggerMessage(139, LogLevel.Information, "Pool '{PoolName}': resumed.")]
    public static partial void Resumed(ILogger logger, string poolName);

    [LoggerMessage(147, LogLevel.Warning, "Pool '{PoolName}': {Lost} opens to {Host} that hang for ever, or connections that were written off, have nearly used up what Npgsql's own pool has room for. It is replaced, and with it every connection there, once.")]
    public static partial void DriverPoolReplaced(ILogger logger, string poolName, int lost, string host);

    [LoggerMessage(148, LogLevel.Warning, "Pool '{PoolName}': Clear() has ended the connections, but ConfigureDataSource threw, so the next ones come from the same data source, with the types and passwords that it knows.")]
    public static partial void NotRenewed(ILogger logger, string poolName, Exception error);

    [LoggerMessage(150, LogLevel.Warning, "Pool '{PoolName}': {Host} was {Before} and is {Now}. Sessions that were opened before are retired; whether it is of use says 'Target Session Attributes'.")]
    public static partial void RoleChanged(ILogger logger, string poolName, string host, string before, string now);

    [LoggerMessage(151, LogLevel.Information, "Pool '{PoolName}': {Host} answers again, and gets its share of the connections back, one after the other.")]
    public static partial void HostIsBack(ILogger logger, string poolName, string host);

    [LoggerMessage(152, LogLevel.Warning, "Pool '{PoolName}': what stands between the pool and its server is something else than it was (a pooler came or went), so every connection is replaced.")]
    public static partial void PathMoved(ILogger logger, string poolName);

    [LoggerMessage(171, LogLevel.Information, "Pool '{PoolName}': a command failed with SQLSTATE {SqlState} ({Reason}), so every connection opened before now is retired, once; not again for it within {PauseSeconds:F0} s.")]
    public static partial void SessionsRetired(ILogger logger, string poolName, string sqlState, string reason, double pauseSeconds);

    [LoggerMessage(172, LogLevel.Warning, "Pool '{PoolName}': writes are refused (SQLSTATE 25006) because its sessions are on a standby, and a new one leads to a standby too. Name the primary, or several hosts and 'Target Session Attributes=primary'.")]
    public static partial void OnStandby(ILogger logger, string poolName);

    [LoggerMessage(190, LogLevel.Warning, "Pool '{PoolName}': Npgsql {Version} does not do what SafePool takes for granted: {Broken}. Use a version that was tested (docs/ecosystem.md, 'Versions of Npgsql').")]
    public static partial void DriverIsUnknown(ILogger logger, string poolName, string version, string broken, Exception? error);
}
