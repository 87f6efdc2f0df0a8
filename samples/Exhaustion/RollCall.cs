using System.Data.Common;
using SafePool.Samples.Exhaustion.Sides;

namespace SafePool.Samples.Exhaustion;

/// <summary>The proof that places are back: all of them are rented and used at the same time.</summary>
internal static class RollCall
{
    public static async Task<int> CountAsync(ISide side, int places)
    {
        var present = await Task.WhenAll(Enumerable.Range(0, places).Select(_ => TryRentAsync(side)));
        foreach (var rented in present)
        {
            rented?.Dispose();
        }

        return present.Count(rented => rented is not null);
    }

    private static async Task<Rented?> TryRentAsync(ISide side)
    {
        Rented? rented = null;
        try
        {
            rented = await side.RentAsync();
            await rented.ExecuteAsync("SELECT 1");
            return rented;
        }
        catch (DbException)
        {
            rented?.Dispose();
            return null;
        }
    }
}
