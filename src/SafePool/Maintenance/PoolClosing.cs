using SafePool.Admission;
using SafePool.Connections;
using SafePool.Leases;

namespace SafePool.Maintenance;

/// <summary>The end of a pool: nobody in, waiters out, idle connections closed, leases waited for. Final.</summary>
internal sealed class PoolClosing(
    PoolClock clock, AdmissionGate gate, LeaseLedger ledger, IConnectionSource source, PhysicalConnections physicals)
{
    public void Close()
    {
        // The gate first: what comes back from now on is not kept. Then a new generation, so that it is closed.
        var idle = gate.Close();
        physicals.Advance();
        source.Clear();
        physicals.CountClosed(idle);
    }

    public async Task<DrainReport> DrainAsync(TimeSpan timeout, CancellationToken cancellationToken)
    {
        var begun = clock.Exact;
        Close();
        var drained = true;
        try
        {
            await gate.AllBack.WaitAsync(timeout, clock.Provider, cancellationToken).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            drained = false;
        }

        return new DrainReport(drained, ledger.Holders(), clock.Since(begun));
    }
}
