using System.Data.Common;
using SafePool.Samples.Exhaustion.Sides;

namespace SafePool.Samples.Exhaustion;

/// <summary>The proof that places are back: all of them are rented and used at the same time.</summary>
internal static class RollCall
{
    public static async Task<int> CountAsync(ISide side, int places)
    {
        List<Rented> present = [];
        int before;
        do
        {
            // On a slow machine more connections must be opened than one budget has time for: the call goes on as long as it brings more.
            before = present.Count;
            var answers = await Task.WhenAll(Enumerable.Range(before, places - before).Select(_ => TryRentAsync(side)));
            present.AddRange(answers.OfType<Rented>());
        }
        while (present.Count > before && present.Count < places);
        present.ForEach(rented => rented.Dispose());
        return present.Count;
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
